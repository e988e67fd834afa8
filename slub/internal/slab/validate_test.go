package slab

import (
	"maps"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// Validate finds each kind of damage, names the slab, and finds nothing in sound ones.
func TestValidate(t *testing.T) {
	r := open(t, 64, Config{})
	ps := r.take(3 * r.perSlab)
	r.free(ps[:2*r.perSlab-10]...)
	if found := maps.Collect(r.Validate()); len(found) != 0 {
		t.Errorf("of sound slabs: %v", found)
	}
	obj := uintptr(ps[2*r.perSlab-11]) // first in the chain of the second slab
	ref := r.slabOf(obj)
	word := mem.At[uint64](obj + r.fp)
	sound, st := *word, ref.state.Load()
	for want, damage := range map[string]func(){
		"leads out of the slab":    func() { *word = 1 },
		"where no object starts":   func() { r.SetNext(obj, ref.addr+8) },
		"comes back to":            func() { r.SetNext(obj, obj) },
		"the count says":           func() { r.SetNext(obj, 0) },
		"free objects, the count ": func() { ref.state.Store(st + 1<<inuseShift) },
	} {
		damage()
		if found := maps.Collect(r.Validate()); len(found) != 1 || !strings.Contains(found[ref.addr], want) {
			t.Errorf("%q: found %v", want, found)
		}
		*word = sound
		ref.state.Store(st)
	}
	r.free(ps[2*r.perSlab-10:]...)
}

// Validate says nothing of slabs that have no chain of their own at rest: those that a refill took
// off the list, and those that are the arena's again.
func TestValidateOthers(t *testing.T) {
	r := open(t, 64, Config{})
	p := r.take(1)[0]
	ref := r.detach(p)
	st := ref.state.Load()
	ref.state.Store(st + 1<<inuseShift)
	if problem := r.validateLocked(ref); problem != "" {
		t.Errorf("a refill's slab: %s", problem)
	}
	ref.state.Store(st)
	n := &r.nodes[0]
	n.mu.Lock()
	n.add(r.Slabs, ref, true)
	n.mu.Unlock()
	r.free(p)
	r.Shrink()
	ref.listed = true
	if problem := r.validateLocked(ref); problem != "" {
		t.Errorf("the arena's slab: %s", problem)
	}
	ref.listed = false
}
