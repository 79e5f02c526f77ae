package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
)

const (
	store  = "statestore"
	pubsub = "pubsub"
	config = "configstore"
)

type section struct {
	name string
	run  func(context.Context, dapr.Client) (any, error)
}

var sections = []section{
	{"state", state}, {"bulk", bulkState}, {"transaction", transaction}, {"publish", publish},
	{"subscribe", subscribe}, {"invoke", invoke}, {"secret", secret},
	{"configuration", configuration}, {"lock", lock}, {"binding", binding}, {"metadata", metadata},
}

// errorOf tells how the SDK presents a failed call.
func errorOf(err error) fields {
	if err == nil {
		return fields{"code": codes.OK.String()}
	}
	found := status.Convert(err)
	details, reason := []string{}, ""
	for _, detail := range found.Details() {
		details = append(details, fmt.Sprintf("%T", detail))
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			reason = info.Reason
		}
	}
	return fields{
		"code": found.Code().String(), "message": err.Error(), "reason": reason, "details": details,
	}
}

func runClient() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := dapr.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Wait(ctx, 10*time.Second); err != nil {
		return err
	}
	seen := fields{}
	for _, section := range sections {
		result, err := section.run(ctx, client)
		if err != nil {
			result = fields{"raised": err.Error()}
		}
		seen[section.name] = result
	}
	report(seen)
	return nil
}

func state(ctx context.Context, client dapr.Client) (any, error) {
	meta := map[string]string{"contentType": "application/json"}
	if err := client.SaveState(ctx, store, "k", []byte(`{"a":1}`), meta); err != nil {
		return nil, err
	}
	item, err := client.GetState(ctx, store, "k", nil)
	if err != nil {
		return nil, err
	}
	firstWrite := dapr.WithConcurrency(dapr.StateConcurrencyFirstWrite)
	saved := client.SaveStateWithETag(ctx, store, "k", []byte(`2`), item.Etag, meta, firstWrite)
	stale := client.SaveStateWithETag(ctx, store, "k", []byte(`3`), item.Etag, meta, firstWrite)
	kept, err := client.GetState(ctx, store, "k", nil)
	if err != nil {
		return nil, err
	}
	if err := client.DeleteState(ctx, store, "k", nil); err != nil {
		return nil, err
	}
	gone, err := client.GetState(ctx, store, "k", nil)
	return fields{
		"value": string(item.Value), "saved": errorOf(saved), "stale": errorOf(stale),
		"kept": string(kept.Value), "gone": string(gone.Value),
		"no_store": errorOf(client.SaveState(ctx, "nowhere", "k", nil, nil)),
	}, err
}

func bulkState(ctx context.Context, client dapr.Client) (any, error) {
	err := client.SaveBulkState(ctx, store,
		&dapr.SetStateItem{Key: "b1", Value: []byte("v1")},
		&dapr.SetStateItem{Key: "b2", Value: []byte("v2")})
	if err != nil {
		return nil, err
	}
	items, err := client.GetBulkState(ctx, store, []string{"b1", "b2", "b3"}, nil, 2)
	found := map[string]string{}
	for _, item := range items {
		found[item.Key] = string(item.Value)
	}
	return found, err
}

func transaction(ctx context.Context, client dapr.Client) (any, error) {
	err := client.ExecuteStateTransaction(ctx, store, nil, []*dapr.StateOperation{
		{Type: dapr.StateOperationTypeUpsert, Item: &dapr.SetStateItem{Key: "t", Value: []byte("t")}},
		{Type: dapr.StateOperationTypeDelete, Item: &dapr.SetStateItem{Key: "b1"}},
	})
	if err != nil {
		return nil, err
	}
	made, err := client.GetState(ctx, store, "t", nil)
	if err != nil {
		return nil, err
	}
	gone, err := client.GetState(ctx, store, "b1", nil)
	return []string{string(made.Value), string(gone.Value)}, err
}

func publish(ctx context.Context, client dapr.Client) (any, error) {
	if err := client.PublishEvent(ctx, pubsub, "orders", fields{"id": 1}); err != nil {
		return nil, err
	}
	rush := dapr.PublishEventWithMetadata(map[string]string{"cloudevent.type": "order.rush"})
	if err := client.PublishEvent(ctx, pubsub, "orders", []byte("hurry"), rush); err != nil {
		return nil, err
	}
	bulk := client.PublishEvents(ctx, pubsub, "streamed", []any{"one", "two"})
	return fields{
		"failed": len(bulk.FailedEvents), "bulk": errorOf(bulk.Error),
		"no_pubsub": errorOf(client.PublishEvent(ctx, "nowhere", "t", "x")),
	}, nil
}

func subscribe(ctx context.Context, client dapr.Client) (any, error) {
	options := dapr.SubscriptionOptions{PubsubName: pubsub, Topic: "streamed"}
	subscription, err := client.Subscribe(ctx, options)
	if err != nil {
		return nil, err
	}
	received := []string{}
	for range 2 {
		message, err := subscription.Receive()
		if err != nil {
			return nil, err
		}
		received = append(received, string(message.RawData))
		if err := message.Success(); err != nil {
			return nil, err
		}
	}
	if err := subscription.Close(); err != nil {
		return nil, err
	}
	handled := make(chan string, 1)
	options.Topic = "handled"
	stop, err := client.SubscribeWithHandler(ctx, options,
		func(event *common.TopicEvent) common.SubscriptionResponseStatus {
			handled <- string(event.RawData)
			return common.SubscriptionResponseStatusSuccess
		})
	if err != nil {
		return nil, err
	}
	if err := client.PublishEvent(ctx, pubsub, "handled", "three"); err != nil {
		return nil, err
	}
	select {
	case data := <-handled:
		received = append(received, data)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return received, stop()
}

func invoke(ctx context.Context, client dapr.Client) (any, error) {
	content := &dapr.DataContent{Data: []byte("hello"), ContentType: "text/plain"}
	answer, err := client.InvokeMethodWithContent(ctx, os.Getenv("APP_ID"), "echo?q=1", "post", content)
	if err != nil {
		return nil, err
	}
	_, unknown := client.InvokeMethod(ctx, "no-such-app", "m", "get")
	return fields{"answer": string(answer), "unknown": errorOf(unknown)}, nil
}

func secret(ctx context.Context, client dapr.Client) (any, error) {
	one, err := client.GetSecret(ctx, "secrets", "plain", nil)
	if err != nil {
		return nil, err
	}
	bulk, err := client.GetBulkSecret(ctx, "secrets", nil)
	return fields{"one": one, "bulk": bulk}, err
}

func configuration(ctx context.Context, client dapr.Client) (any, error) {
	first, err := client.GetConfigurationItem(ctx, config, "color")
	if err != nil {
		return nil, err
	}
	changes := make(chan string, 16)
	id, err := client.SubscribeConfigurationItems(ctx, config, []string{"color"},
		func(id string, items map[string]*dapr.ConfigurationItem) {
			if item := items["color"]; item != nil {
				changes <- item.Value + " " + item.Version
			}
		})
	if err != nil {
		return nil, err
	}
	err = client.InvokeOutputBinding(ctx, &dapr.InvokeBindingRequest{
		Name: "redis", Operation: "create", Data: []byte("blue||2"),
		Metadata: map[string]string{"key": "color"},
	})
	if err != nil {
		return nil, err
	}
	var change string
	select {
	case change = <-changes:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return fields{"first": first.Value, "change": change},
		client.UnsubscribeConfigurationItems(ctx, config, id)
}

func lock(ctx context.Context, client dapr.Client) (any, error) {
	request := &dapr.LockRequest{ResourceID: "door", LockOwner: "me", ExpiryInSeconds: 60}
	taken, err := client.TryLockAlpha1(ctx, "lockstore", request)
	if err != nil {
		return nil, err
	}
	freed, err := client.UnlockAlpha1(ctx, "lockstore", &dapr.UnlockRequest{
		ResourceID: "door", LockOwner: "me",
	})
	if err != nil {
		return nil, err
	}
	return fields{"taken": taken.Success, "freed": freed.Status}, nil
}

func binding(ctx context.Context, client dapr.Client) (any, error) {
	event, err := client.InvokeBinding(ctx, &dapr.InvokeBindingRequest{
		Name: "redis", Operation: "get", Metadata: map[string]string{"key": "color"},
	})
	if err != nil {
		return nil, err
	}
	return string(event.Data), nil
}

func metadata(ctx context.Context, client dapr.Client) (any, error) {
	if err := client.SetMetadata(ctx, "made-by", "go"); err != nil {
		return nil, err
	}
	found, err := client.GetMetadata(ctx)
	if err != nil {
		return nil, err
	}
	components := []string{}
	for _, component := range found.RegisteredComponents {
		components = append(components, component.Name+" "+component.Type)
	}
	topics := []string{}
	for _, subscription := range found.Subscriptions {
		topics = append(topics, subscription.Topic)
	}
	return fields{
		"id": found.ID, "made_by": found.ExtendedMetadata["made-by"],
		"components": components, "topics": topics,
	}, nil
}
