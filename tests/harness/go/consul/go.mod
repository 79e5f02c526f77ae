// The agent that tests of nameresolution.consul talk to; tools/programs.py builds it.
module dapr-runtime-tools/consul

go 1.23.0

require github.com/hashicorp/consul v1.20.2

// A module's replace directives hold for itself only: these are published releases that fit.
replace (
	github.com/hashicorp/consul/envoyextensions => github.com/hashicorp/consul/envoyextensions v0.7.3
	github.com/hashicorp/consul/troubleshoot => github.com/hashicorp/consul/troubleshoot v0.7.1
)
