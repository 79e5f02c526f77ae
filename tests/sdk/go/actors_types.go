package main

import (
	"context"
	"errors"
	"os"
	"sync/atomic"

	"github.com/dapr/go-sdk/actor"
	dapr "github.com/dapr/go-sdk/client"
)

const ledgerType = "Ledger"

type Echoed struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

type Entry struct {
	Key   string `json:"key"`
	Found bool   `json:"found"`
	Value any    `json:"value"`
}

type Schedule struct {
	Name     string `json:"name"`
	Callback string `json:"callback"`
	Due      string `json:"due"`
	Period   string `json:"period"`
	Data     string `json:"data"`
}

// ledgerStub is what a client calls; the SDK fills its functions in.
type ledgerStub struct {
	id             string
	Where          func(context.Context) (string, error)
	Echo           func(context.Context, *Echoed) (*Echoed, error)
	Put            func(context.Context, *Entry) error
	Read           func(context.Context, string) (*Entry, error)
	Drop           func(context.Context, string) error
	Fail           func(context.Context, string) (string, error)
	Together       func(context.Context) (int, error)
	StartTimer     func(context.Context, *Schedule) error
	StartReminder  func(context.Context, *Schedule) error
	ForgetReminder func(context.Context, string) error
	Nowhere        func(context.Context) error
}

func (s *ledgerStub) Type() string { return ledgerType }
func (s *ledgerStub) ID() string   { return s.id }

// Ledger is an actor; one lives for each id. The SDK takes exported types only.
type Ledger struct {
	actor.ServerImplBaseCtx
	sidecar dapr.Client
	running atomic.Int32
	ticks   int
}

func ledgers(sidecar dapr.Client) actor.FactoryContext {
	return func() actor.ServerContext {
		report(fields{"event": "made"})
		return &Ledger{sidecar: sidecar}
	}
}

func (l *Ledger) Type() string { return ledgerType }

func (l *Ledger) Where(context.Context) (string, error) { return os.Getenv("APP_NAME"), nil }

func (l *Ledger) Echo(_ context.Context, in *Echoed) (*Echoed, error) {
	return &Echoed{ID: l.ID(), Value: in.Value}, nil
}

func (l *Ledger) Put(ctx context.Context, in *Entry) error {
	if err := l.GetStateManager().Set(ctx, in.Key, in.Value); err != nil {
		return err
	}
	return l.SaveState(ctx) // the SDK does it only after methods that return something
}

func (l *Ledger) Read(ctx context.Context, key string) (*Entry, error) {
	out := &Entry{Key: key}
	found, err := l.GetStateManager().Contains(ctx, key)
	if err != nil || !found {
		return out, err
	}
	out.Found = true
	return out, l.GetStateManager().Get(ctx, key, &out.Value)
}

func (l *Ledger) Drop(ctx context.Context, key string) error {
	if err := l.GetStateManager().Remove(ctx, key); err != nil {
		return err
	}
	return l.SaveState(ctx)
}

// Fail returns something besides its error: the SDK forgets the error of a method that does not.
func (l *Ledger) Fail(_ context.Context, message string) (string, error) {
	return "", errors.New(message)
}

// Together tells how many calls of this actor run at a time; it adds one to a sum in the state.
func (l *Ledger) Together(ctx context.Context) (int, error) {
	together := int(l.running.Add(1))
	defer l.running.Add(-1)
	sum := 0
	found, err := l.GetStateManager().Contains(ctx, "sum")
	if err == nil && found {
		err = l.GetStateManager().Get(ctx, "sum", &sum)
	}
	if err != nil {
		return 0, err
	}
	return together, l.GetStateManager().Set(ctx, "sum", sum+1)
}

func (l *Ledger) StartTimer(ctx context.Context, in *Schedule) error {
	return l.sidecar.RegisterActorTimer(ctx, &dapr.RegisterActorTimerRequest{
		ActorType: l.Type(), ActorID: l.ID(), Name: in.Name, CallBack: in.Callback,
		DueTime: in.Due, Period: in.Period, Data: []byte(in.Data),
	})
}

// Tick is the callback of timers.
func (l *Ledger) Tick(_ context.Context, data string) error {
	l.ticks++
	report(fields{"event": "timer", "actor": l.ID(), "data": data, "count": l.ticks})
	return nil
}

// TickUntilThree stops its own timer.
func (l *Ledger) TickUntilThree(ctx context.Context, data string) error {
	if err := l.Tick(ctx, data); err != nil || l.ticks < 3 {
		return err
	}
	err := l.sidecar.UnregisterActorTimer(ctx, &dapr.UnregisterActorTimerRequest{
		ActorType: l.Type(), ActorID: l.ID(), Name: "stops",
	})
	report(fields{"event": "timer stopped", "actor": l.ID()})
	return err
}

func (l *Ledger) StartReminder(ctx context.Context, in *Schedule) error {
	return l.sidecar.RegisterActorReminder(ctx, &dapr.RegisterActorReminderRequest{
		ActorType: l.Type(), ActorID: l.ID(), Name: in.Name,
		DueTime: in.Due, Period: in.Period, Data: []byte(in.Data),
	})
}

func (l *Ledger) ForgetReminder(ctx context.Context, name string) error {
	return l.sidecar.UnregisterActorReminder(ctx, &dapr.UnregisterActorReminderRequest{
		ActorType: l.Type(), ActorID: l.ID(), Name: name,
	})
}

// ReminderCall is what the SDK calls for every reminder.
func (l *Ledger) ReminderCall(name string, state []byte, due string, period string) {
	l.ticks++
	report(fields{
		"event": "reminder", "actor": l.ID(), "name": name, "data": string(state),
		"due": due, "period": period, "count": l.ticks,
	})
}
