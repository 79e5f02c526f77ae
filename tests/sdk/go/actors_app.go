package main

import (
	"os"

	dapr "github.com/dapr/go-sdk/client"
	sdkhttp "github.com/dapr/go-sdk/service/http"
)

// runActors hosts ledgers. The SDK hosts actors over HTTP only.
func runActors() error {
	sidecar, err := dapr.NewClient()
	if err != nil {
		return err
	}
	defer sidecar.Close()
	service := sdkhttp.NewService("127.0.0.1:" + os.Getenv("APP_PORT"))
	service.RegisterActorImplFactoryContext(ledgers(sidecar))
	return service.Start()
}
