//go:build programs

// Package programs names what is built from another module as it is, so that
// go.mod keeps its version.
package programs

import _ "helm.sh/helm/v3/cmd/helm"
