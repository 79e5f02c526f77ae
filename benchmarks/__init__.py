"""What a request costs: this sidecar beside a plain aiohttp server, and beside any other daprd.

Run ``python -m benchmarks --help``; ``results.md`` holds what was measured.
"""
