package slub

import (
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// Validate reports damage and names the slab. In a sound cache it finds nothing. (The tests of
// package slab have each kind of damage.)
func TestValidate(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	c := openRecorder(t, nil, Config{Size: 64, Flags: NoSheaves})
	ps := take(t, c.Cache, 3*c.perSlab)
	freeAll(c.Cache, ps[:2*c.perSlab-10])
	if err := c.Validate(); err != nil {
		t.Errorf("of a sound cache: %v", err)
	}
	first := ps[2*c.perSlab-11] // in the chain of the second slab
	obj, slab := uintptr(first), slabOf(c.Cache, first)
	undo := changeLink(c.Cache, first, func(word uint64) uint64 { return word })
	report := hooks.Hooks{Report: c.hooking.now.Load().Report}
	for want, damage := range map[string]func(){
		"leads out of the slab":  func() { changeLink(c.Cache, first, func(uint64) uint64 { return 1 }) },
		"where no object starts": func() { c.slabs.SetNext(obj, slab+8) },
	} {
		c.Reports = nil
		damage()
		err := c.Validate()
		var r *hooks.Report
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &r) || r.Slab != slab || len(c.Reports) != 1 {
			t.Errorf("%q: %v, %d reports", want, err, len(c.Reports))
		}
		setHooks(t, c.Cache, hooks.Hooks{})
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q without a hook: %v", want, err)
		}
		setHooks(t, c.Cache, report)
		undo()
	}
	freeAll(c.Cache, ps[2*c.perSlab-10:])
}

// Validate reports nothing while other goroutines use the cache.
func TestValidateMeanwhile(t *testing.T) {
	c := open(t, nil, Config{Size: 64, SheafCapacity: 4})
	stop, done := make(chan bool), make(chan bool)
	for range 3 {
		go func() {
			defer func() { done <- true }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				ps := make([]unsafe.Pointer, 200)
				if err := c.AllocBulk(ps); err != nil {
					t.Error(err)
					return
				}
				for _, p := range ps {
					*mem.At[uint64](uintptr(p) + c.layout.fp) = 1
				}
				c.FreeBulk(ps)
			}
		}()
	}
	for range 10 {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		for range 100 {
			for _, problem := range c.slabs.Validate() {
				t.Error(problem)
			}
		}
		if t.Failed() {
			break
		}
	}
	close(stop)
	for range 3 {
		<-done
	}
}
