package slub_test

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub"
)

// TestRoundWaitsForDrain: an allocation that finds no memory does not fail while another goroutine
// has in hand what FreeDeferred was given. The wait for that goroutine is bounded, so that a busy
// machine may need more than one try.
func TestRoundWaitsForDrain(t *testing.T) {
	for name, size := range map[string]int{"of a cache": 9000, "of Buckets": 2 << 20} {
		t.Run(name, func(t *testing.T) {
			for try := 1; ; try++ {
				err := allocDuringDrain(t, size)
				if err == nil {
					return
				}
				if try == 5 {
					t.Fatal(err)
				}
			}
		})
	}
}

// allocDuringDrain returns the error of an allocation that needs the memory which a drain on
// another goroutine is about to free, in an arena without any other.
func allocDuringDrain(t *testing.T, size int) error {
	t.Helper()
	a := newArena(t, arena.Config{Limit: 8 << 20})
	got := make(chan error, 1)
	var b *slub.Buckets
	draining := false
	b = openBuckets(t, a, slub.BucketsConfig{Hooks: hooks.Hooks{Free: func(hooks.Object) bool {
		if !draining {
			return false
		}
		draining = false
		rounds := a.Stats().Reclaim.Rounds
		go func() { got <- oneOf(b.Malloc(size)).FreeTo(b.Free) }()
		for a.Stats().Reclaim.Rounds == rounds && len(got) == 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond) // the allocation fails meanwhile, or waits
		return false
	}}})
	var held []unsafe.Pointer
	for {
		p, err := b.Malloc(size)
		if err != nil {
			break
		}
		held = append(held, p)
	}
	p, held := held[0], held[1:]
	defer freeAllBy(b.Free, held)
	draining = true // a sweep may drain the list from here on
	b.FreeDeferred(p)
	if err := b.Barrier(context.Background()); err != nil {
		t.Error(err)
	}
	return <-got
}
