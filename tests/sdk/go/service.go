package main

import (
	"context"
	"os"

	"github.com/dapr/go-sdk/service/common"
	sdkgrpc "github.com/dapr/go-sdk/service/grpc"
	sdkhttp "github.com/dapr/go-sdk/service/http"
)

type fields map[string]any

func grpcService(address string) (common.Service, error) {
	return sdkgrpc.NewService(address)
}

func httpService(address string) (common.Service, error) {
	return sdkhttp.NewService(address), nil
}

func topicHandler(route string) common.TopicEventHandler {
	return func(_ context.Context, event *common.TopicEvent) (bool, error) {
		report(fields{
			"route": route, "data": string(event.RawData), "type": event.Type,
			"topic": event.Topic, "pubsub": event.PubsubName, "content_type": event.DataContentType,
		})
		return false, nil
	}
}

func echo(_ context.Context, in *common.InvocationEvent) (*common.Content, error) {
	report(fields{"route": "echo", "verb": in.Verb, "query": in.QueryString})
	return &common.Content{Data: append([]byte("echo "), in.Data...), ContentType: in.ContentType}, nil
}

func tick(_ context.Context, in *common.BindingEvent) ([]byte, error) {
	report(fields{"route": "tick", "metadata": in.Metadata})
	return nil, nil
}

// runService serves the same handlers by the given kind of service.
func runService(create func(string) (common.Service, error)) error {
	service, err := create("127.0.0.1:" + os.Getenv("APP_PORT"))
	if err != nil {
		return err
	}
	orders := &common.Subscription{PubsubName: "pubsub", Topic: "orders", Route: "/orders"}
	rush := &common.Subscription{
		PubsubName: "pubsub", Topic: "orders", Route: "/rush",
		Match: `event.type == "order.rush"`, Priority: 1,
	}
	for _, err := range []error{
		service.AddTopicEventHandler(orders, topicHandler("orders")),
		service.AddTopicEventHandler(rush, topicHandler("rush")),
		service.AddServiceInvocationHandler("/echo", echo),
		service.AddBindingInvocationHandler("tick", tick),
		service.AddHealthCheckHandler("/healthz", func(context.Context) error { return nil }),
	} {
		if err != nil {
			return err
		}
	}
	return service.Start()
}
