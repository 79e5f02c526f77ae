//go:build tools

// Package tools names the program, so that its dependencies are the module's.
package tools

import _ "github.com/distribution/distribution/v3/cmd/registry"
