package slub

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// A tattler is a cache whose reports are kept.
type tattler struct {
	*Cache
	reports []*hooks.Report
}

func openTattler(t *testing.T, a *arena.Arena, cfg Config) *tattler {
	tt := new(tattler)
	cfg.Hooks.Report = func(r *hooks.Report) { tt.reports = append(tt.reports, r) }
	tt.Cache = open(t, a, cfg)
	return tt
}

// frees are the ways to give a pointer to a cache.
var frees = map[string]func(*Cache, unsafe.Pointer){
	"Free":         (*Cache).Free,
	"FreeRCU":      (*Cache).FreeRCU,
	"FreeDeferred": (*Cache).FreeDeferred,
	"FreeBulk":     func(c *Cache, p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) },
	"Prefilled.Free": func(c *Cache, p unsafe.Pointer) {
		pre, err := c.Prefill(1)
		if err != nil {
			panic(err)
		}
		defer pre.Return()
		one := pre.Alloc() // makes room
		if pre.Free(p) || !pre.Free(one) && !sanitized {
			panic("a prefilled sheaf took the wrong one")
		} else if sanitized {
			c.Free(one)
		}
		c.Free(p)
	},
}

// Every pointer that is no object of the cache is reported for what it is, on every
// way, and nothing is lost or gained by it.
func TestFreeOfWhatIsNoObject(t *testing.T) {
	a := newArena(t, arena.Config{})
	// 4096 = 42*96 + 64: a slab of any order has unused bytes at its end.
	c := openTattler(t, a, Config{Name: "victim", Size: 96})
	other := open(t, a, Config{Name: "other", Size: 96})
	elsewhere := open(t, nil, Config{Size: 96})
	mine, theirs, far := take(t, c.Cache, 1)[0], take(t, other, 1)[0], take(t, elsewhere, 1)[0]
	defer func() { c.Free(mine); other.Free(theirs); elsewhere.Free(far) }()
	slab := c.slabs.slabOf(uintptr(mine))
	var onStack [2]uint64

	for name, bad := range map[string]struct {
		p    unsafe.Pointer
		kind hooks.Kind
	}{
		"Go heap":                {unsafe.Pointer(new([12]uint64)), hooks.ForeignPointer},
		"stack":                  {unsafe.Pointer(&onStack[0]), hooks.ForeignPointer},
		"another arena":          {far, hooks.ForeignPointer},
		"page without slab":      {mem.Ptr(a.Base() + a.Span() - mem.PageSize), hooks.ForeignPointer},
		"just below the arena":   {mem.Ptr(a.Base() - 8), hooks.ForeignPointer},
		"just behind the arena":  {mem.Ptr(a.Addr(a.Pages())), hooks.ForeignPointer},
		"another cache":          {theirs, hooks.WrongCache},
		"inside another's":       {unsafe.Add(theirs, 8), hooks.WrongCache},
		"inside an object":       {unsafe.Add(mine, 8), hooks.MisalignedPointer},
		"odd address":            {unsafe.Add(mine, 1), hooks.MisalignedPointer},
		"unused end of the slab": {mem.Ptr(slab.addr + slab.bytes()/96*96), hooks.MisalignedPointer},
	} {
		for how, free := range frees {
			before := c.Stats()
			c.reports = nil
			free(c.Cache, bad.p)
			after := c.Stats()
			if len(c.reports) != 1 || c.reports[0].Kind != bad.kind || c.reports[0].Addr != uintptr(bad.p) {
				t.Errorf("%s of %s: reports %v, want one of kind %v", how, name, c.reports, bad.kind)
				continue
			}
			if r := c.reports[0]; (r.Owner == "other") != (r.Kind == hooks.WrongCache) || r.Cache != "victim" {
				t.Errorf("%s of %s: %v", how, name, r)
			}
			lost := int64(before.InUse) - int64(after.InUse)
			if lost != 0 || after.ForeignFrees != before.ForeignFrees+1 {
				t.Errorf("%s of %s: %d objects fewer in use, %d foreign frees more", how, name, lost, after.ForeignFrees-before.ForeignFrees)
			}
		}
	}
	if other.Stats().InUse != 1 {
		t.Errorf("the other cache has %d objects in use", other.Stats().InUse)
	}
}

func TestFreeOfNilDoesNothing(t *testing.T) {
	c := openTattler(t, nil, Config{Size: 64})
	for how, free := range frees {
		if how == "Prefilled.Free" {
			continue
		}
		free(c.Cache, nil)
		if s := c.Stats(); len(c.reports) > 0 || s.InUse != 0 || s.ForeignFrees != 0 {
			t.Errorf("%s: reports %v, %+v", how, c.reports, s)
		}
	}
}

// FreeBulk goes on with the good ones around what it reports.
func TestFreeBulkWithBadPointersAmongGood(t *testing.T) {
	c := openTattler(t, nil, Config{Size: 64})
	ps := take(t, c.Cache, 10)
	stranger := unsafe.Pointer(new([8]uint64))
	mixed := []unsafe.Pointer{nil, ps[0], stranger, ps[1], ps[2], unsafe.Add(ps[3], 4), nil}
	mixed = append(append(mixed, ps[3:]...), stranger)
	c.FreeBulk(mixed)
	if s := c.Stats(); s.InUse != 0 || s.ForeignFrees != 3 || len(c.reports) != 3 {
		t.Errorf("%d in use, %d foreign frees, reports %v", s.InUse, s.ForeignFrees, c.reports)
	}
}

func TestWithoutReportHookMisusePanics(t *testing.T) {
	c := open(t, nil, Config{Name: "strict", Size: 64})
	p := take(t, c, 1)[0]
	defer c.Free(p)
	for how, free := range frees {
		if how == "Prefilled.Free" {
			continue
		}
		func() {
			defer func() {
				r, ok := recover().(*hooks.Report)
				if !ok || r.Kind != hooks.MisalignedPointer || !strings.Contains(fmt.Sprintf("%+v", r), "TestWithoutReportHook") {
					t.Errorf("%s: panicked with %+v", how, r)
				}
			}()
			free(c, unsafe.Add(p, 16))
			t.Errorf("%s: went on", how)
		}()
	}
}

// A free pointer that somebody wrote over is reported when it is followed; what it
// hid counts as in use, and nobody crashes.
func TestCorruptFreePointer(t *testing.T) {
	var reports []*hooks.Report
	c, err := New(newArena(t, smallArena), Config{Size: 64, Flags: NoSheaves, Hooks: hooks.Hooks{
		Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	if err != nil {
		t.Fatal(err)
	}
	ps := take(t, c, c.perSlab)
	freeAll(c, ps)
	const hidden = 5 // freed before the one in question
	*mem.At[uint64](uintptr(ps[hidden]) + c.layout.fp) ^= 0xdead << 40
	got := take(t, c, 2*c.perSlab)
	if len(reports) != 1 || reports[0].Kind != hooks.FreelistCorrupt || reports[0].Addr != uintptr(ps[hidden]) {
		t.Errorf("reports %v", reports)
	}
	seen := map[unsafe.Pointer]bool{}
	for _, p := range got {
		if seen[p] {
			t.Errorf("%p handed out twice", p)
		}
		seen[p] = true
	}
	freeAll(c, got)
	err = c.Close()
	same(t, "Close with objects behind a corrupt pointer", err, ErrBusy)
	if !strings.Contains(err.Error(), fmt.Sprintf("%d objects", hidden)) {
		t.Errorf("%d objects were hidden: %v", hidden, err)
	}
	freeAll(c, ps[:hidden])
	same(t, "Close", c.Close(), nil)
}
