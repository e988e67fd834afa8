package lock

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// Context locks a free lock whatever its context says, and a held one when the holder unlocks it.
// When its context ends first it returns the context's error, and the lock is free once the holder
// has unlocked it.
func TestContext(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	for name, ctx := range map[string]context.Context{
		"no end": context.Background(), "may end": t.Context(), "ended": ended,
	} {
		var mu sync.Mutex
		if err := Context(ctx, &mu); err != nil || mu.TryLock() {
			t.Errorf("%s: %v, or the lock is not held", name, err)
		}
		result := make(chan error)
		go func() { result <- Context(ctx, &mu) }()
		if ctx == ended {
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		select {
		case err := <-result:
			t.Fatalf("%s: two have the lock: %v", name, err)
		default:
		}
		mu.Unlock()
		if err := <-result; err != nil || mu.TryLock() {
			t.Errorf("%s: %v, or the lock is not held", name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	mu.Lock()
	results := make(chan error)
	for range 10 {
		go func() { results <- Context(ctx, &mu) }()
	}
	cancel()
	for range 10 {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("the context has ended: %v", err)
		}
	}
	mu.Unlock()
	mu.Lock() // those that waited let it go
}

// However many wait, each gets the lock alone.
func TestContextExcludes(t *testing.T) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n, got := 0, make(chan bool, 800)
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				if i == 7 {
					cancel()
				}
				if Context(ctx, &mu) == nil {
					n++ // -race finds two at once
					got <- true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	mu.Lock()
	if n != len(got) {
		t.Errorf("%d have got the lock, and counted %d", len(got), n)
	}
}
