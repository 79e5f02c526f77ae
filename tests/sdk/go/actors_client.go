package main

import (
	"context"
	"sync"
	"time"

	dapr "github.com/dapr/go-sdk/client"
)

type actorSection struct {
	name string
	run  func(context.Context, dapr.Client) (any, error)
}

var actorSections = []actorSection{
	{"proxies", actorProxies}, {"state", actorState}, {"turns", actorTurns},
	{"errors", actorErrors}, {"timers", actorTimers}, {"reminders", actorReminders},
	{"api", actorAPI},
}

func ledgerOf(client dapr.Client, id string) *ledgerStub {
	stub := &ledgerStub{id: id}
	client.ImplActorClientStub(stub)
	return stub
}

// runActorsClient calls actors by the SDK's proxies and prints what it saw.
func runActorsClient() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := dapr.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	seen := fields{}
	for _, section := range actorSections {
		result, err := section.run(ctx, client)
		if err != nil {
			result = fields{"raised": err.Error()}
		}
		seen[section.name] = result
	}
	report(seen)
	return nil
}

func actorProxies(ctx context.Context, client dapr.Client) (any, error) {
	one := ledgerOf(client, "an id@with spaces")
	where, err := one.Where(ctx)
	if err != nil {
		return nil, err
	}
	echo, err := one.Echo(ctx, &Echoed{Value: []any{1, "é", nil}})
	return fields{"where": where, "echo": echo}, err
}

func actorState(ctx context.Context, client dapr.Client) (any, error) {
	one := ledgerOf(client, "state")
	for _, in := range []*Entry{{Key: "a", Value: fields{"deep": []int{1, 2}}}, {Key: "b", Value: "x"}} {
		if err := one.Put(ctx, in); err != nil {
			return nil, err
		}
	}
	kept, err := one.Read(ctx, "a")
	if err != nil {
		return nil, err
	}
	missing, err := one.Read(ctx, "never")
	if err != nil {
		return nil, err
	}
	if err := one.Drop(ctx, "b"); err != nil {
		return nil, err
	}
	gone, err := one.Read(ctx, "b")
	return fields{"a": kept, "missing": missing, "b": gone}, err
}

func actorTurns(ctx context.Context, client dapr.Client) (any, error) {
	var waiting sync.WaitGroup
	var lock sync.Mutex
	most, failures := 0, []string{}
	for range 20 {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			together, err := ledgerOf(client, "turns").Together(ctx)
			lock.Lock()
			defer lock.Unlock()
			most = max(most, together)
			if err != nil {
				failures = append(failures, err.Error())
			}
		}()
	}
	waiting.Wait()
	return fields{"most": most, "failures": failures}, nil
}

func actorErrors(ctx context.Context, client dapr.Client) (any, error) {
	one := ledgerOf(client, "errors")
	_, raised := one.Fail(ctx, "out of ink")
	seen := fields{"raised": errorOf(raised), "method": errorOf(one.Nowhere(ctx))}
	works, err := one.Where(ctx)
	seen["works"] = works
	_, unknown := client.InvokeActor(ctx, &dapr.InvokeActorRequest{
		ActorType: "Nobody", ActorID: "1", Method: "m",
	})
	seen["type"] = errorOf(unknown)
	return seen, err
}

func actorTimers(ctx context.Context, client dapr.Client) (any, error) {
	once := &Schedule{Name: "once", Callback: "Tick", Due: "200ms", Data: `"timed"`}
	if err := ledgerOf(client, "timers").StartTimer(ctx, once); err != nil {
		return nil, err
	}
	stops := &Schedule{
		Name: "stops", Callback: "TickUntilThree", Due: "0s", Period: "200ms", Data: `"x"`,
	}
	return nil, ledgerOf(client, "counting").StartTimer(ctx, stops)
}

func actorReminders(ctx context.Context, client dapr.Client) (any, error) {
	one := ledgerOf(client, "reminders")
	for _, in := range []*Schedule{
		{Name: "once", Due: "200ms", Data: "reminded"},
		{Name: "gone", Due: "1h", Data: "x"},
		{Name: "later", Due: "1h", Period: "1m", Data: "kept"},
	} {
		if err := one.StartReminder(ctx, in); err != nil {
			return nil, err
		}
	}
	periodic := &Schedule{Name: "periodic", Due: "0s", Period: "R3/PT1S", Data: "x"}
	if err := ledgerOf(client, "periodic").StartReminder(ctx, periodic); err != nil {
		return nil, err
	}
	return nil, one.ForgetReminder(ctx, "gone")
}

// actorAPI calls the sidecar without a proxy, as one that hosts nothing can.
func actorAPI(ctx context.Context, client dapr.Client) (any, error) {
	answer, err := client.InvokeActor(ctx, &dapr.InvokeActorRequest{
		ActorType: ledgerType, ActorID: "plain", Method: "Where",
	})
	if err != nil {
		return nil, err
	}
	return string(answer.Data), nil
}
