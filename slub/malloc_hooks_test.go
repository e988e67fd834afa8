package slub

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
)

// A size class has no hooks of its own from the first moment. An iteration over Caches may find it
// before its Buckets are ready, and before it refers to them.
func TestNewClassRefusesHooks(t *testing.T) {
	id, err := caches.span(1)
	same(t, "span", err, nil)
	c, err := newCache(newArena(t, arena.Config{}), Config{Size: 64}, reservation{id: id})
	if err != nil {
		t.Fatal(err)
	}
	hook := hooks.Hooks{Alloc: func(hooks.Object) {}}
	same(t, "SetHooks of a class without Buckets", c.SetHooks(hook), ErrConfig)
	same(t, "Close", c.Close(), nil)
}

// A goroutine that finds a size class as soon as it is published can't set hooks of that class.
func TestPublishedClassRefusesHooks(t *testing.T) {
	a := newArena(t, arena.Config{})
	hook := hooks.Hooks{Alloc: func(hooks.Object) {}}
	var stop atomic.Bool
	var looking sync.WaitGroup
	looking.Go(func() {
		for !stop.Load() {
			for c := range Caches() {
				if c.Arena() == a {
					same(t, "SetHooks of a published class", c.SetHooks(hook), ErrConfig)
				}
			}
		}
	})
	for range 10 {
		b, err := NewBuckets(a, BucketsConfig{Domain: new(rcu.Domain)})
		same(t, "NewBuckets", err, nil)
		same(t, "Close", b.Close(), nil)
	}
	stop.Store(true)
	looking.Wait()
}
