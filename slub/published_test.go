package slub_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// A pointer that is published to something else than an object in use is found in builds with
// invariants, by each function that publishes, and the text says what the pointer leads to.
func TestPublishedIsObject(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants or -race")
	}
	var self rcu.Pointer[byte]
	link := func(p unsafe.Pointer) { self.Store((*byte)(p)) } // as that of an empty ring
	linked := open(t, nil, slub.Config{Name: "linked", Size: 100, Ctor: link, RCUDtor: link})
	linked.FreeRCU(take(t, linked, 1)[0])
	if err := linked.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	run, err := slub.Malloc(2 << 20)
	if err != nil {
		t.Fatal(err)
	}
	slub.Free(run)
	delaySweep() // what is given to FreeRCU and FreeDeferred waits until the end
	c := open(t, nil, slub.Config{Name: "published", Size: 100, Domain: new(rcu.Domain), RCUDelay: time.Hour})
	ps := take(t, c, 4)
	freed, given, deferred := ps[1], ps[2], ps[3]
	c.Free(freed)
	c.FreeRCU(given)
	c.FreeDeferred(deferred)
	onHeap := new([4096]byte)
	for name, of := range map[string]struct {
		p    unsafe.Pointer
		want string // "" if it may be published
	}{
		"object":                  {ps[0], ""},
		"part of an object":       {unsafe.Add(ps[0], 50), ""},
		"nil":                     {nil, ""},
		"freed":                   {freed, "it has been freed before"},
		"given to FreeRCU":        {given, "it was given to FreeRCU before"},
		"given to FreeDeferred":   {deferred, "it was given to FreeDeferred before"},
		"bytes behind the object": {unsafe.Add(ps[0], 103), "behind the object"},
		"page run given back":     {run, "no object"},
		"Go's heap":               {unsafe.Pointer(onHeap), "Go's heap"},
	} {
		obj := (*byte)(of.p)
		for method, publish := range map[string]func(*rcu.Pointer[byte]){
			"Store":          func(p *rcu.Pointer[byte]) { p.Store(obj) },
			"Swap":           func(p *rcu.Pointer[byte]) { p.Swap(obj) },
			"CompareAndSwap": func(p *rcu.Pointer[byte]) { p.CompareAndSwap(nil, obj) },
		} {
			var p rcu.Pointer[byte]
			text := publishing(func() { publish(&p) })
			switch {
			case of.want == "" && (text != "" || p.LoadProtected() != obj):
				t.Errorf("%s, %s: %q", name, method, text)
			case of.want != "" && (!strings.Contains(text, of.want) || !strings.Contains(text, "published_test.go:")):
				t.Errorf("%s, %s: %q, want %q and the place", name, method, text, of.want)
			}
		}
	}
	same(t, "Barrier", c.Barrier(context.Background()), nil)
	c.Free(ps[0])
}

// publishing returns what f panics with, or "".
func publishing(f func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}
