package slub_test

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub"
)

// frees are the ways to give a pointer to a cache.
var frees = map[string]func(*slub.Cache, unsafe.Pointer){
	"Free":         (*slub.Cache).Free,
	"FreeRCU":      (*slub.Cache).FreeRCU,
	"FreeDeferred": (*slub.Cache).FreeDeferred,
	"FreeBulk":     func(c *slub.Cache, p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) },
	"Prefilled.Free": func(c *slub.Cache, p unsafe.Pointer) {
		pre, err := c.Prefill(1)
		if err != nil {
			panic(err)
		}
		defer pre.Return()
		one := pre.Alloc() // makes room
		if pre.Free(p) || pre.Free(one) == slub.Hardened() {
			panic("a prefilled sheaf took the wrong one")
		}
		if slub.Hardened() { // it takes none
			c.Free(one)
		}
		c.Free(p)
	},
}

// Every way of freeing reports every pointer that is no object of the cache, with the right kind,
// and no count of objects changes.
func TestFreeOfWhatIsNoObject(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	a := newArena(t, arena.Config{})
	// 4096 = 42*96 + 64: a slab of any order has unused bytes at its end.
	c := openRecorder(t, a, slub.Config{Name: "victim", Size: 96})
	other := open(t, a, slub.Config{Name: "other", Size: 96})
	elsewhere := open(t, nil, slub.Config{Size: 96})
	mine, theirs, far := take(t, c.Cache, 1)[0], take(t, other, 1)[0], take(t, elsewhere, 1)[0]
	defer func() { c.Free(mine); other.Free(theirs); elsewhere.Free(far) }()
	slab := slabOf(c.Cache, mine)
	var onStack [2]uint64

	for name, bad := range map[string]struct {
		p    unsafe.Pointer
		kind hooks.Kind
	}{
		"Go heap":                {unsafe.Pointer(new([12]uint64)), hooks.ForeignPointer},
		"stack":                  {unsafe.Pointer(&onStack[0]), hooks.ForeignPointer},
		"another arena":          {far, hooks.WrongCache},
		"page without slab":      {mem.Ptr(a.Base() + uintptr(a.Span()) - mem.PageSize), hooks.ForeignPointer},
		"just below the arena":   {mem.Ptr(a.Base() - 8), hooks.ForeignPointer},
		"just behind the arena":  {mem.Ptr(a.Addr(a.Pages())), hooks.ForeignPointer},
		"another cache":          {theirs, hooks.WrongCache},
		"inside another's":       {unsafe.Add(theirs, 8), hooks.WrongCache},
		"inside an object":       {unsafe.Add(mine, 8), hooks.MisalignedPointer},
		"odd address":            {unsafe.Add(mine, 1), hooks.MisalignedPointer},
		"unused end of the slab": {mem.Ptr(slab + mem.PageSize<<c.Stats().Order/96*96), hooks.MisalignedPointer},
	} {
		for how, free := range frees {
			before := c.Stats()
			c.Reports = nil
			free(c.Cache, bad.p)
			after := c.Stats()
			if len(c.Reports) != 1 || c.Reports[0].Kind != bad.kind || c.Reports[0].Addr != uintptr(bad.p) {
				t.Errorf("%s of %s: reports %v, want one of kind %v", how, name, c.Reports, bad.kind)
				continue
			}
			owner := "other"
			if bad.p == far {
				owner = elsewhere.Name()
			} else if bad.kind != hooks.WrongCache {
				owner = ""
			}
			if r := c.Reports[0]; r.Owner != owner || r.Cache != "victim" {
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
	c := openRecorder(t, nil, slub.Config{Size: 64})
	for how, free := range frees {
		if how == "Prefilled.Free" {
			continue
		}
		free(c.Cache, nil)
		if s := c.Stats(); len(c.Reports) > 0 || s.InUse != 0 || s.ForeignFrees != 0 {
			t.Errorf("%s: reports %v, %+v", how, c.Reports, s)
		}
	}
}

// FreeBulk frees the objects among the pointers that it reports.
func TestFreeBulkWithBadPointersAmongGood(t *testing.T) {
	c := openRecorder(t, nil, slub.Config{Size: 64})
	ps := take(t, c.Cache, 10)
	foreign := unsafe.Pointer(new([8]uint64))
	mixed := []unsafe.Pointer{nil, ps[0], foreign, ps[1], ps[2], unsafe.Add(ps[3], 4), nil}
	mixed = append(append(mixed, ps[3:]...), foreign)
	c.FreeBulk(mixed)
	if s := c.Stats(); s.InUse != 0 || s.ForeignFrees != 3 || len(c.Reports) != 3 {
		t.Errorf("%d in use, %d foreign frees, reports %v", s.InUse, s.ForeignFrees, c.Reports)
	}
}

func TestWithoutReportHookMisusePanics(t *testing.T) {
	c := open(t, nil, slub.Config{Name: "strict", Size: 64})
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

// An overwritten free pointer is reported when it is followed. The objects behind it count as in
// use, and nothing crashes.
func TestCorruptFreePointer(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	var reports []*hooks.Report
	c, err := slub.New(newArena(t, smallArena), slub.Config{Size: 64, Hardened: slub.None, Flags: slub.NoSheaves, Hooks: hooks.Hooks{
		Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	if err != nil {
		t.Fatal(err)
	}
	ps := take(t, c, c.Stats().ObjectsPerSlab)
	freeAll(c, ps)
	const hidden = 5 // freed before the object with the overwritten pointer
	slub.SmashLink(c, ps[hidden])
	got := take(t, c, 2*c.Stats().ObjectsPerSlab)
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
	same(t, "Close with objects behind a corrupt pointer", err, slub.ErrBusy)
	if !strings.Contains(err.Error(), fmt.Sprintf("%d objects", hidden)) {
		t.Errorf("%d objects were hidden: %v", hidden, err)
	}
	slub.ReturnObjects(c, ps[:hidden]) // their marks, if they have any, say that they are free
	same(t, "Close", c.Close(), nil)
}
