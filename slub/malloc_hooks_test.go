package slub

import (
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
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
