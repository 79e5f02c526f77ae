// The registry of images that tests of bundles push to; tools/programs.py builds it.
module dapr-runtime-tools/registry

go 1.25.0

require github.com/distribution/distribution/v3 v3.1.2
