// Programs built on the official Go SDK; the first argument names the one to run.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

var output sync.Mutex

// report writes one JSON line about what was seen.
func report(seen any) {
	line, err := json.Marshal(seen)
	if err != nil {
		line = []byte(fmt.Sprintf(`{"raised": %q}`, err.Error()))
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func main() {
	var err error
	switch os.Args[1] {
	case "client":
		err = runClient()
	case "grpc":
		err = runService(grpcService)
	case "http":
		err = runService(httpService)
	case "actors":
		err = runActors()
	case "actors-client":
		err = runActorsClient()
	default:
		err = fmt.Errorf("unknown program %s", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
