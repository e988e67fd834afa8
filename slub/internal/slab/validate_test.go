package slab

import (
	"maps"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
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

// Validate finds a descriptor that was overwritten, and an owner word with another node. It neither
// panics nor believes the number of objects. Nor does IsolateDamaged, which takes the slab out of
// use.
func TestValidateDescriptor(t *testing.T) {
	r := open(t, 64, Config{})
	ps := r.take(r.perSlab)
	r.free(ps[1:]...)
	ref := r.slabOf(uintptr(ps[0]))
	sound, word := *(*[32]byte)(unsafe.Pointer(ref.slab)), r.word(ref)
	for want, damage := range map[string]func(){
		"that of the descriptor":          func() { ref.node = 200 },
		"descriptor 0x":                   func() { ref.kind ^= small },
		"4294967295 objects":              func() { ref.objects = math.MaxUint32 },
		" 0 objects":                      func() { ref.objects = 0 },
		"in 65535 pages":                  func() { ref.pages = math.MaxUint16 },
		"in 0 pages":                      func() { ref.pages = 0 },
		"the owner word says node 200 of": func() { r.arena.SetOwner(ref.page, 1, owner.Of(r.id, 200)) },
	} {
		damage()
		if found := maps.Collect(r.Validate()); len(found) != 1 || !strings.Contains(found[ref.addr], want) {
			t.Errorf("%q: found %v", want, found)
		}
		*(*[32]byte)(unsafe.Pointer(ref.slab)) = sound
		r.arena.SetOwner(ref.page, 1, word)
	}
	if found := maps.Collect(r.Validate()); len(found) != 0 {
		t.Errorf("of a sound slab: %v", found)
	}
	pages := ref.pages
	ref.pages = math.MaxUint16
	if found := r.IsolateDamaged(); len(found) != 1 || found[0].Slab != ref.addr || r.Isolated() != 1 {
		t.Errorf("when use has ended: %+v, %d slabs are isolated", found, r.Isolated())
	}
	ref.pages = pages
	r.dissolve()
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
