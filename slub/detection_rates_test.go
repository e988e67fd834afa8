package slub

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
)

// A detection says when a mistake was found.
type detection int

const (
	never      detection = iota
	later                // after an object had two owners: by a report, Validate or Close
	found                // before that, or at the access
	detections           // their number
)

// A chance is a kind of mistake that is found with some probability.
type chance struct {
	name string
	cfg  Config
	// once makes the mistake, to a cache that it was made to before.
	once func(t *testing.T, v *damaged) detection
	// found and never are the shares that are expected; see testutil.CheckShare.
	found, never float64
}

// A damaged cache is one that mistakes are made to.
type damaged struct {
	*reportRecorder
	rng  *rand.Rand
	held map[unsafe.Pointer]bool
}

// links are what is written over the link of a free object. Its slab's page has 64 objects of 64
// bytes, whose addresses differ in bits 6 to 11. So six of 64 flipped bits give a link to another
// object. One of the six leads to a free one, which is found by its count.
var links = []struct {
	name  string
	write func(rng *rand.Rand, old uint64, slab uintptr) uint64
	found float64
}{
	{"one bit flipped", func(rng *rand.Rand, old uint64, _ uintptr) uint64 { return old ^ 1<<rng.IntN(64) }, 1 - 5.0/64},
	{"zeroed", func(*rand.Rand, uint64, uintptr) uint64 { return 0 }, 1},
	{"address of a neighbour", func(rng *rand.Rand, _ uint64, slab uintptr) uint64 { return uint64(slab) + 64*rng.Uint64N(64) }, 1},
	{"random bytes", func(rng *rand.Rand, _ uint64, _ uintptr) uint64 { return rng.Uint64() }, 1},
}

func chances() (all []chance) {
	for _, l := range links {
		once := func(t *testing.T, v *damaged) detection { return v.breakLink(t, l.write) }
		for how, hardened := range map[string]int{"": None, ", hardened": On} {
			cfg := Config{Size: 64, Flags: NoSheaves, Hardened: hardened}
			found := l.found
			if hardened == On { // links to objects in use are found by their marks
				found = 1
			}
			all = append(all, chance{"link, " + l.name + how, cfg, once, found, 0})
		}
	}
	return append(all,
		chance{"write over the end, half of the objects free, hardened", Config{Size: 64, Flags: NoSheaves, Hardened: On}, overrun, 0.5, 0.5},
		chance{"second free, up to 64 operations after the first", Config{Size: 64, SheafCapacity: 16, Hardened: None}, freeAgain, 0, 0})
}

// breakLink writes over the link of an object that lies free in a slab. Before and after that no
// other slab has a free object.
func (v *damaged) breakLink(t *testing.T, write func(*rand.Rand, uint64, uintptr) uint64) detection {
	ps := v.hold(t, v.perSlab)
	for _, p := range ps[:3] {
		v.release(p)
	}
	last := ps[2]
	at := mem.At[uint64](uintptr(last) + v.layout.fp)
	*at = write(v.rng, *at, slabOf(v.Cache, last))
	return v.fill(t)
}

// overrun writes over the end of an object into its neighbour, of a slab of which every second
// object is free, at random.
func overrun(t *testing.T, v *damaged) detection {
	ps := v.hold(t, v.perSlab)
	free := v.rng.Perm(len(ps))[:len(ps)/2]
	slab := slabOf(v.Cache, ps[0])
	for _, i := range free {
		v.release(ps[i])
	}
	// The last object of a slab has no neighbour there.
	at := slab + 64*uintptr(1+v.rng.IntN(v.perSlab-1))
	*mem.At[uint64](at) ^= v.rng.Uint64() | 1
	return v.fill(t)
}

// freeAgain frees an object twice with other operations between. Both owners that the object then
// has free it, and so does each other object's. Then the cache is closed.
func freeAgain(t *testing.T, v *damaged) detection {
	victim := v.hold(t, 100)[50]
	v.release(victim)
	for v.operate(t, v.rng.IntN(65)); v.held[victim]; {
		v.release(victim) // another owner has got it meanwhile: nothing could tell the two apart
	}
	v.Free(victim)
	if o := v.fill(t); o != never {
		return o
	}
	for p := range v.held {
		v.Free(p)
	}
	v.Free(victim)
	if v.Close(); len(v.Reports) > 0 {
		return later
	}
	return never
}

// hold allocates n objects.
func (v *damaged) hold(t *testing.T, n int) []unsafe.Pointer {
	ps := take(t, v.Cache, n)
	for _, p := range ps {
		v.held[p] = true
	}
	return ps
}

func (v *damaged) release(p unsafe.Pointer) {
	delete(v.held, p)
	v.Free(p)
}

// operate allocates and frees at random.
func (v *damaged) operate(t *testing.T, n int) {
	for range n {
		if v.rng.IntN(2) == 0 {
			v.hold(t, 1)
			continue
		}
		for p := range v.held {
			v.release(p)
			break
		}
	}
}

// fill allocates all free objects, and tells what has been found.
func (v *damaged) fill(t *testing.T) detection {
	twice := false
	for s := v.Stats(); s.Nodes[0].FreeInSlabs+s.SheafObjects > 0; s = v.Stats() {
		p := take(t, v.Cache, 1)[0]
		twice = twice || v.held[p]
		v.held[p] = true
		if twice {
			break
		}
	}
	result := never
	switch {
	case len(v.Reports) > 0 && !twice:
		result = found
	case len(v.Reports) > 0 || v.Validate() != nil:
		result = later
	}
	v.Reports = nil
	return result
}

// Mistakes that nothing finds for sure are found as often as docs/debugging.md says.
func TestDetectionRates(t *testing.T) {
	if sanitized || checked {
		t.Skip("these builds find the mistakes themselves")
	}
	if !testutil.ChildForShares(t, "SLUBD_GUARD=off", "SLUBD_PROFILE_RATE=0") {
		return
	}
	n := testutil.Injections(t)
	for _, c := range chances() {
		rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
		var counts [detections]int
		v := openChance(t, c, rng)
		for i := range n {
			o := c.once(t, v)
			counts[o]++
			if o != found || i%100 == 99 { // an object may have two owners
				v = openChance(t, c, rng)
			}
		}
		testutil.CheckShare(t, c.name+", found", counts[found], n, c.found)
		testutil.CheckShare(t, c.name+", never found", counts[never], n, c.never)
	}
}

// openChance makes a cache for mistakes. It is not closed, nor is its arena: the process ends.
func openChance(t *testing.T, c chance, rng *rand.Rand) *damaged {
	a, err := arena.New(ofOneNode(t, arena.Config{Span: 32 * mib}))
	if err != nil {
		t.Fatal(err)
	}
	v := &damaged{new(reportRecorder), rng, map[unsafe.Pointer]bool{}}
	c.cfg.Hooks.Report = func(r *hooks.Report) { v.Reports = append(v.Reports, r) }
	if v.Cache, err = New(a, c.cfg); err != nil {
		t.Fatal(err)
	}
	return v
}
