"""Whether a sidecar could use a custom resource, and if not, which field is why.

Pure: an object as JSON goes in, a list of problems comes out.
"""
