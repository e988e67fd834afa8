package slab

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// A model is what the slabs should be, kept by a test without a look at their words: which objects
// are out, and which were ever out since their slab was made. It paints each new slab, so that a
// write to an object that was never out shows.
type model struct {
	*rig
	out   []unsafe.Pointer
	slabs map[uintptr]*modelSlab // by their address
}

type modelSlab struct {
	size   uintptr
	places int              // for objects
	out    map[uintptr]bool // for each object that was ever out, whether it is
}

const paint = 0x5a

// made notes a new slab, which forgets what was on its pages before.
func (m *model) made(r Ref) {
	b := mem.Bytes(r.addr, r.Bytes())
	for i := range b {
		b[i] = paint
	}
	for addr := range m.slabs {
		if addr >= r.addr && addr < r.addr+r.Bytes() {
			delete(m.slabs, addr)
		}
	}
	m.slabs[r.addr] = &modelSlab{size: r.Bytes(), places: r.Objects(), out: map[uintptr]bool{}}
}

func (m *model) slabOf(obj uintptr) (uintptr, *modelSlab) {
	for addr, s := range m.slabs {
		if obj-addr < s.size {
			return addr, s
		}
	}
	m.t.Fatalf("%#x lies in no slab", obj)
	return 0, nil
}

// took notes objects that one call has handed out, in their order.
func (m *model) took(ps ...unsafe.Pointer) {
	m.t.Helper()
	for _, p := range ps {
		obj := uintptr(p)
		addr, s := m.slabOf(obj)
		if off := obj - addr; off%m.size != 0 || off/m.size >= uintptr(s.places) {
			m.t.Fatalf("%#x is no object of the slab at %#x", obj, addr)
		}
		out, touched := s.out[obj]
		if out {
			m.t.Fatalf("%#x is handed out twice", obj)
		}
		if !touched {
			if b := mem.Bytes(obj, m.size); slices.IndexFunc(b, func(c byte) bool { return c != paint }) >= 0 {
				m.t.Fatalf("%#x was never handed out, but written to", obj)
			}
			for other, out := range s.out {
				if !out {
					m.t.Fatalf("%#x comes before %#x, which has been out before", obj, other)
				}
			}
		}
		s.out[obj] = true
		m.out = append(m.out, p)
		mem.Zero(obj, m.size)
	}
}

// give takes n objects that are out, any of them, off the model.
func (m *model) give(rng *rand.Rand, n int) []unsafe.Pointer {
	rng.Shuffle(len(m.out), func(i, j int) { m.out[i], m.out[j] = m.out[j], m.out[i] })
	left := len(m.out) - min(n, len(m.out))
	ps := slices.Clone(m.out[left:])
	m.out = m.out[:left]
	for _, p := range ps {
		_, s := m.slabOf(uintptr(p))
		s.out[uintptr(p)] = false
	}
	return ps
}

// compare compares the slabs with the model.
func (m *model) compare(when string) {
	m.t.Helper()
	m.counted(when)
	want := make([]uintptr, 0, len(m.out))
	for _, p := range m.out {
		want = append(want, uintptr(p))
	}
	slices.Sort(want)
	if got := slices.Sorted(m.InUse()); !slices.Equal(got, want) {
		m.t.Fatalf("%s: %d objects are in use, want %d", when, len(got), len(want))
	}
	var out []uintptr
	for _, objs := range m.Out() {
		out = append(out, objs...)
	}
	if slices.Sort(out); !slices.Equal(out, want) {
		m.t.Fatalf("%s: %d objects are out, want %d", when, len(out), len(want))
	}
}

// TestUntouchedModel: whatever is taken and freed in whatever order, no object is handed out twice,
// none is written to before it is handed out, and what was freed comes before what was never out.
func TestUntouchedModel(t *testing.T) {
	for _, c := range []struct {
		size  uintptr
		cfg   Config
		small bool // most slabs are of a lower order
	}{
		{size: 64}, {size: 24}, {size: 1000, cfg: Config{Order: 2}}, {size: 4096, cfg: Config{Order: 3}},
		{size: 64, cfg: Config{Shuffle: true}}, {size: 24, cfg: Config{Order: 1, Shuffle: true}},
		{size: 512, cfg: Config{Order: 3, Shuffle: true}, small: true}, {size: 40, cfg: Config{Order: 2}, small: true},
		{size: 96, cfg: Config{MinPartial: arena.None, AfterGracePeriod: func(func()) {}}},
	} {
		t.Run(fmt.Sprintf("%d of order %d, shuffle %v, small %v", c.size, c.cfg.Order, c.cfg.Shuffle, c.small), func(t *testing.T) {
			seed := rand.Uint64()
			rng := rand.New(rand.NewPCG(seed, 1))
			m := &model{slabs: map[uintptr]*modelSlab{}}
			c.cfg.OnNewSlab = m.made
			var wait []func()
			if c.cfg.AfterGracePeriod != nil {
				c.cfg.AfterGracePeriod = func(f func()) { wait = append(wait, f) }
			}
			c.cfg.Arena = newArena(t, arena.Config{})
			m.rig = open(t, c.size, c.cfg)
			if c.small {
				defer breakUp(c.cfg.Arena, 1<<c.cfg.Order)()
			}
			for step := range 400 {
				switch rng.IntN(8) {
				case 0, 1, 2:
					dst := make([]unsafe.Pointer, 1+rng.IntN(60))
					n, _ := m.Take(0, dst, false)
					m.took(dst[:n]...)
				case 3:
					if p := m.TakeNoWait(0); p != nil {
						m.took(p)
					}
				case 4:
					for _, p := range m.give(rng, rng.IntN(20)) {
						m.Free(p)
					}
				case 5, 6:
					m.FreeBulk(m.give(rng, rng.IntN(100)))
				default:
					m.Shrink()
					for ; len(wait) > 0; wait = wait[1:] {
						wait[0]()
					}
				}
				if step%10 == 9 {
					m.compare(fmt.Sprintf("seed %d, step %d", seed, step))
				}
			}
			m.FreeBulk(m.give(rng, len(m.out)))
			m.Shrink()
			for ; len(wait) > 0; wait = wait[1:] {
				wait[0]()
			}
		})
	}
}

// breakUp takes all pages of an arena but every few, alone, and returns what gives them back.
func breakUp(a *arena.Arena, few int) (mend func()) {
	var runs []arena.Run
	for {
		run, err := a.AllocPages(1, 0)
		if err != nil {
			break
		}
		runs = append(runs, run)
	}
	kept := runs[:0]
	for i, run := range runs {
		if i%few == 0 && i < 64*few {
			a.Free(run.Page)
		} else {
			kept = append(kept, run)
		}
	}
	return func() {
		for _, run := range kept {
			a.Free(run.Page)
		}
	}
}

// The objects of a slab come by their addresses for the first time, those of a shuffled one in an
// order that portions don't change.
func TestUntouchedOrder(t *testing.T) {
	for _, shuffle := range []bool{false, true} {
		r := open(t, 64, Config{Order: 1, Shuffle: shuffle})
		var ps []unsafe.Pointer
		for _, n := range []int{1, 60, 7, 59, 1} {
			dst := make([]unsafe.Pointer, n)
			if got, err := r.Take(0, dst, false); got != n || err != nil {
				t.Fatal(got, err)
			}
			ps = append(ps, dst...)
		}
		ref := r.slabOf(uintptr(ps[0]))
		inTurn := 0
		for place, p := range ps {
			i := uint32((uintptr(p) - ref.addr) / r.size)
			if got := r.placeOf(ref, i); got != uint32(place) || i >= ref.objects {
				t.Fatalf("object %d came at place %d, and has place %d", i, place, got)
			}
			if place > 0 && uintptr(p) == uintptr(ps[place-1])+r.size {
				inTurn++
			}
		}
		if sequential := inTurn == len(ps)-1; sequential == shuffle || shuffle && inTurn > len(ps)/2 {
			t.Errorf("with shuffle %v, %d of %d objects follow their neighbours", shuffle, inTurn, len(ps))
		}
		r.free(ps...)
	}
}

// An object that is freed though it was never out, since it was freed before its slab was made, is
// found by the refill that would hand it out twice, by one without waiting, and when the slab would
// go back.
func TestFreeOfUntouched(t *testing.T) {
	for _, shuffle := range []bool{false, true} {
		for way, find := range map[string]func(r *rig, ps []unsafe.Pointer) []unsafe.Pointer{
			"Take": func(r *rig, _ []unsafe.Pointer) []unsafe.Pointer { return r.take(3) },
			"TakeNoWait": func(r *rig, ps []unsafe.Pointer) []unsafe.Pointer {
				if p := r.TakeNoWait(0); p != nil {
					r.t.Errorf("%p was taken, which is free twice", p)
				}
				return r.take(1)
			},
			"Validate": func(r *rig, ps []unsafe.Pointer) []unsafe.Pointer {
				for _, problem := range r.Validate() {
					if !strings.Contains(problem, "never handed out") {
						r.t.Errorf("Validate: %s", problem)
					}
					return r.take(1)
				}
				r.t.Error("Validate finds nothing")
				return nil
			},
			"the free of the last object": func(r *rig, ps []unsafe.Pointer) []unsafe.Pointer {
				r.SetMinPartial(arena.None)
				r.free(ps[1:]...)
				return nil
			},
		} {
			t.Run(fmt.Sprintf("%s, shuffle %v", way, shuffle), func(t *testing.T) {
				r := open(t, 64, Config{Shuffle: shuffle})
				ps := r.take(4)
				ref := r.slabOf(uintptr(ps[0]))
				var last [1]unsafe.Pointer
				r.placed(ref, ref.objects-1, last[:])
				r.Free(last[0])
				got := find(r, ps)
				if len(r.damages) != 1 || r.damages[0].Object != uintptr(last[0]) || !r.damages[0].Twice || r.Isolated() != 1 {
					t.Errorf("%p was freed; reported is %+v", last[0], r.damages)
				}
				for _, p := range got {
					if r.slabOf(uintptr(p)).addr == ref.addr {
						t.Errorf("%p is handed out", p)
					}
				}
				r.free(got...)
				r.dissolve()
			})
		}
	}
}

// slab.state has room for the largest slab, and its parts don't touch one another.
func TestStateParts(t *testing.T) {
	const most = mem.PageSize << arena.MaxOrder / 8
	for _, st := range []slabState{
		{}, {free: 8}, {free: most * 8}, {untouched: 1}, {untouched: most}, {inuse: 1}, {inuse: most},
		{free: most * 8, untouched: most, inuse: most},
	} {
		if got := unpack(st.pack()); got != st {
			t.Errorf("%+v comes back as %+v", st, got)
		}
	}
}
