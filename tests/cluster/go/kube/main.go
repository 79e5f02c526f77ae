// Command kube is every Kubernetes program that tests start, in one binary:
// they share almost all of their code, so one is a third of the size and of the
// build. The name it is called by chooses the program.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// kubectl prints its errors itself, so it does not run as the servers do.
const kubectl = "kubectl"

var servers = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": manager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	program := filepath.Base(os.Args[0])
	if program == kubectl {
		util.CheckErr(cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()))
		return
	}
	server, known := servers[program]
	if !known {
		fmt.Fprintf(os.Stderr, "%s: call me by one of these names: %s\n", program, strings.Join(names(), ", "))
		os.Exit(2)
	}
	os.Exit(cli.Run(server()))
}

func names() []string {
	known := []string{kubectl}
	for name := range servers {
		known = append(known, name)
	}
	sort.Strings(known)
	return known
}
