package slub

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub/internal/debug"
)

// at returns the byte at an offset from an object, wherever that is.
func at(p unsafe.Pointer, off int) *byte { return (*byte)(unsafe.Add(p, off)) }

// The config and the environment say which caches are debug caches, and each excludes from the
// other.
func TestDebugConfig(t *testing.T) {
	if hidesBytes {
		t.Skip("Z and P do nothing with the address sanitizer")
	}
	for _, c := range []struct{ env, config, name, want string }{
		{"", "", "a", "-"},
		{"", "FZPU", "a", "FZPU"},
		{"P", "", "a", "P"},
		{"P", "-", "a", "-"},
		{"P", "Z", "a", "Z"},
		{"P", "Z,b", "a", "-"},
		{",a*", "", "a-1", "FZPU"},
		{",a*", "", "b", "-"},
	} {
		setDebug(t, c.env, 0)
		cache := open(t, nil, Config{Name: c.name, Size: 64, Debug: c.config, Flags: Merge})
		got := debug.Flags(0)
		if d := cache.debug(); d != nil {
			got = d.layout.Flags
		}
		if got.String() != c.want || (got != 0) != (cache.sheaves == nil) {
			t.Errorf("%q in the environment, config %q, name %q: %v, sheaves %t; want %s",
				c.env, c.config, c.name, got, cache.sheaves != nil, c.want)
		}
		if cache.config.mergeable() != (got == 0) {
			t.Errorf("%v: mergeable %t", got, got != 0)
		}
	}
	setDebug(t, "", 0)
	for field, cfg := range map[string]Config{
		"Debug":       {Size: 8, Debug: "X"},
		"DebugAction": {Size: 8, DebugAction: allActions + 1},
		"Hardened":    {Size: 8, Debug: "F", Hardened: On},
	} {
		if err := cfg.Validate(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	same(t, "BucketsConfig", BucketsConfig{Debug: "P,"}.Validate(), ErrConfig)
	for _, text := range []string{"-", "-,x", "P,other", "FZ;-,a"} {
		same(t, "Debug "+text+" of a hardened cache", Config{Name: "a", Size: 8, Debug: text, Hardened: On}.Validate(), nil)
	}
	same(t, "Debug of other hardened Buckets", BucketsConfig{Debug: "P,other*", Hardened: On}.Validate(), nil)
	same(t, "Debug of one size", BucketsConfig{Debug: "P,malloc-64", Hardened: On}.Validate(), ErrConfig)
}

// setDebug sets what the environment says, until the test ends.
func setDebug(t *testing.T, rules string, action DebugAction) {
	t.Helper()
	before := processDebug
	t.Cleanup(func() { processDebug = before })
	processDebug = debugEnvironment{action: action}
	if rules != "" {
		var err error
		if processDebug.rules, err = debug.Parse(rules); err != nil {
			t.Fatal(err)
		}
	}
}

// The environment makes no object too large for a slab. A config that does is refused.
func TestDebugOfTheLargestObject(t *testing.T) {
	const largest = 4 * mib
	setDebug(t, "FZPU", 0)
	c := open(t, nil, Config{Size: largest - 128})
	c.Free(take(t, c, 1)[0])
	if f := c.debug().layout.Flags; !hidesBytes && f.String() != "FZPU" {
		t.Errorf("flags %v of an object that has room", f)
	}
	c = open(t, nil, Config{Size: largest})
	if f := c.debug().layout.Flags; f != debug.Consistency {
		t.Errorf("flags %v", f)
	}
	c.Free(take(t, c, 1)[0])
	if hidesBytes {
		return
	}
	_, err := New(nil, Config{Size: largest, Debug: "Z"})
	same(t, "New", err, ErrConfig)
}

// A fault is a write that a debug cache has to find.
type fault struct {
	flags, part string
	free        bool // the object is free when it is written to
	kind        hooks.Kind
	off         func(c *Cache, size int) int // where, in bytes from the object
}

var debugFaults = []fault{
	{"Z", "Left Redzone", false, hooks.RedZoneOverwritten, func(*Cache, int) int { return -1 }},
	{"Z", "Left Redzone", true, hooks.RedZoneOverwritten, func(*Cache, int) int { return -8 }},
	{"Z", "Right Redzone", false, hooks.RedZoneOverwritten, func(_ *Cache, size int) int { return size }},
	{"Z", "Right Redzone", true, hooks.RedZoneOverwritten, func(_ *Cache, size int) int { return size }},
	{"Z", "Right Redzone", false, hooks.RedZoneOverwritten, func(c *Cache, _ int) int { return int(c.layout.fp) - 1 }},
	{"P", "Poison", true, hooks.WriteAfterFree, func(*Cache, int) int { return 0 }},
	{"P", "Poison", true, hooks.WriteAfterFree, func(_ *Cache, size int) int { return size / 2 }},
	{"P", "End Poison", true, hooks.WriteAfterFree, func(_ *Cache, size int) int { return size - 1 }},
	{"ZP", "Object padding", false, hooks.PaddingOverwritten, padding},
	{"ZP", "Object padding", true, hooks.PaddingOverwritten, padding},
}

func padding(c *Cache, _ int) int { return int(c.layout.slot-c.debug().layout.Left) - 1 }

// Each fault is found in objects of each size: with F by the free or the next allocation, without
// it by Validate, and if nothing has looked before by Close. The report has the first byte, and the
// cache goes on.
func TestDebugFaults(t *testing.T) {
	withoutSamples(t) // Validate does not look at sampled objects
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	for _, size := range []int{8, 24, 64, 192, 1024, 8192} {
		for _, f := range debugFaults {
			for _, found := range []string{"F", "Validate", "Close"} {
				if f.free || found != "Close" { // the free would write all of it
					injectFault(t, size, f, found)
				}
			}
		}
	}
}

func injectFault(t *testing.T, size int, f fault, found string) {
	t.Helper()
	flags := f.flags
	if found == "F" {
		flags += "FU"
	}
	what := fmt.Sprintf("%d bytes, %s, %s, free %t, found by %s", size, flags, f.part, f.free, found)
	c := openRecorder(t, nil, Config{Name: "fault", Size: int64(size), Debug: flags})
	ps := take(t, c.Cache, 3)
	p := ps[1]
	if f.free {
		c.Free(p)
	}
	b := at(p, f.off(c.Cache, size))
	was := *b
	*b = was ^ 0x80
	if found == "F" && f.free {
		p = take(t, c.Cache, 1)[0]
	}
	var err error
	if found == "Validate" {
		err = c.Validate()
	}
	if !f.free || found == "F" {
		c.Free(p)
	}
	freeAll(c.Cache, []unsafe.Pointer{ps[0], ps[2]})
	if found == "Close" {
		err = c.Close()
	}
	if len(c.Reports) != 1 {
		t.Fatalf("%s: %d reports: %v", what, len(c.Reports), c.Reports)
	}
	r := c.Reports[0]
	var wrapped *hooks.Report
	if found != "F" && (!errors.As(err, &wrapped) || wrapped != r) {
		t.Errorf("%s: error %v", what, err)
	}
	o := r.Overwrite
	if r.Kind != f.kind || r.Addr != uintptr(ps[1]) || o == nil || o.Part != f.part || o.First != mem.Addr(b) || o.Last != mem.Addr(b) ||
		o.Got != was^0x80 || o.Want != was || !r.Repaired {
		t.Fatalf("%s: %+v, %+v; the byte at %p of %p was %#x", what, r, o, b, ps[1], was)
	}
	for _, text := range []string{"BUG " + c.name + " (debug ", f.part + " overwritten", fmt.Sprintf("First byte 0x%x instead of 0x%x", was^0x80, was), "FIX " + c.name + ": Restoring "} {
		if !strings.Contains(r.History, text) {
			t.Errorf("%s: no %q in\n%s", what, text, r.History)
		}
	}
	if found == "F" {
		checkCalls(t, what, r, f.free)
	}
	c.Reports = nil
	if err := c.Validate(); err != nil {
		t.Errorf("%s: after the repair: %v", what, err)
	}
}

// checkCalls checks that a report has the calls that allocated and freed its object.
func checkCalls(t *testing.T, what string, r *hooks.Report, freed bool) {
	t.Helper()
	if !strings.Contains(callSites(r.Allocated), "slub.take") || strings.Contains(callSites(r.Freed), "slub.injectFault") != freed {
		t.Errorf("%s: allocated by %s, freed by %s", what, callSites(r.Allocated), callSites(r.Freed))
	}
	if !strings.Contains(r.History, "Allocated on CPU ") || strings.Contains(r.History, "Freed on CPU ") != freed {
		t.Errorf("%s:\n%s", what, r.History)
	}
}

// callSites returns the functions of a stack.
func callSites(stack []uintptr) string { return fmt.Sprintf("%+v", &hooks.Report{Stack: stack}) }

// The bytes behind a slab's last slot are padding.
func TestDebugTail(t *testing.T) {
	withoutSamples(t) // Validate does not look at their slabs
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	c := openRecorder(t, nil, Config{Size: 1000, Debug: "P"})
	p := take(t, c.Cache, 1)[0]
	from, to := c.debug().layout.Tail(slabOf(c.Cache, p), mem.PageSize<<c.slabs.Order(), uintptr(c.perSlab))
	if from == to {
		t.Fatal("the slab has no bytes left")
	}
	*mem.At[byte](to - 1) = 0
	err := c.Validate()
	var r *hooks.Report
	if !errors.As(err, &r) || r.Kind != hooks.PaddingOverwritten || r.Overwrite.Part != "Padding" || r.Slab != slabOf(c.Cache, p) || r.Addr != 0 {
		t.Errorf("%+v", err)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	c.Free(p)
}

// Every way to allocate and free works in a debug cache, with everything that a config can ask for,
// and nothing is reported.
func TestDebugIsSilent(t *testing.T) {
	ctor := func(p unsafe.Pointer) { *(*byte)(p) = 0x77 }
	every := []string{"FZPU", "FZ", "P"}
	if hidesBytes {
		every = []string{"FU"}
	}
	for name, cfg := range map[string]Config{
		"plain": {}, "InitOnAlloc": {Flags: InitOnAlloc}, "InitOnFree": {Flags: InitOnFree}, "ctor": {Ctor: ctor},
		"TypesafeByRCU": {Flags: TypesafeByRCU}, "sampled": {ProfileRate: 256}, "aligned": {Align: 4096}, "lines": {Flags: HWCacheAlign},
		"dtor": {RCUDtor: func(unsafe.Pointer) {}}, "shuffled": {Flags: ShuffleFreelist}, "link": {FreePtrOffset: At(0)},
	} {
		for _, size := range []int64{8, 20, 9000} {
			for _, flags := range every {
				cfg.Name, cfg.Size, cfg.Debug = name, size, flags
				useDebugCache(t, openRecorder(t, nil, cfg))
			}
		}
	}
}

func useDebugCache(t *testing.T, c *reportRecorder) {
	t.Helper()
	size := uintptr(c.config.Size)
	for round := range 2 {
		ps := take(t, c.Cache, 60)
		bulk := make([]unsafe.Pointer, 20)
		same(t, "AllocBulk", c.AllocBulk(bulk), nil)
		ps = append(ps, bulk...)
		p, err := c.AllocZero()
		same(t, "AllocZero", err, nil)
		if !zeroed(p, size) {
			t.Fatalf("%s, %d bytes: AllocZero gave % x", c.name, size, mem.Bytes(uintptr(p), size))
		}
		ps = append(ps, p)
		if p, err = c.AllocNoWait(); err == nil {
			ps = append(ps, p)
		}
		local, err := c.NewLocal(0)
		same(t, "NewLocal", err, nil)
		if p, err = local.Alloc(); err == nil {
			local.Free(p)
		}
		local.Close()
		lent := prefill(t, c.Cache, 20)
		for range 10 {
			ps = append(ps, lent.Alloc())
		}
		same(t, "Refill", lent.Refill(30), nil)
		if ps = append(ps, lent.Alloc()); lent.Len() != 29 || lent.Free(ps[len(ps)-1]) {
			t.Errorf("%d objects are left of 30", lent.Len())
		}
		lent.Return()
		lent.Return()
		same(t, "Refill after Return", lent.Refill(1), ErrConfig)
		for _, p := range ps {
			switch {
			case uintptr(p)%c.layout.align != 0:
				t.Fatalf("%p is not aligned to %d", p, c.layout.align)
			case c.config.Ctor != nil && *(*byte)(p) != 0x77 && p != ps[len(bulk)+60]:
				t.Fatalf("%p has lost what the constructor did", p)
			case c.config.Flags&(InitOnAlloc|InitOnFree) != 0 && !zeroed(p, size):
				t.Fatalf("%s: %p is not zero: % x", c.name, p, mem.Bytes(uintptr(p), size))
			}
			if c.config.Ctor == nil {
				paint(p, size, uint64(round+1))
			} else {
				*(*byte)(p) = 0x77
			}
		}
		same(t, "Validate", c.Validate(), nil)
		freeAll(c.Cache, ps[:20])
		c.FreeBulk(slices.Clone(ps[20:40]))
		for _, p := range ps[40:60] {
			c.FreeRCU(p)
		}
		for _, p := range ps[60:] {
			c.FreeDeferred(p)
		}
		same(t, "Validate", c.Validate(), nil)
		same(t, "Barrier", c.Barrier(t.Context()), nil)
		if round == 0 {
			c.Shrink()
		}
	}
	if len(c.Reports) != 0 {
		t.Fatalf("%s, %d bytes, %v: %+v", c.name, size, c.debug().layout.Flags, c.Reports[0])
	}
	counted(t, c.Cache, c.name)
}

// Two frees of an object are one free and one report, with the call that freed it first.
func TestDebugDoubleFree(t *testing.T) {
	withoutSamples(t) // it frees objects twice
	frees := map[string]func(c *Cache, p unsafe.Pointer){
		"Free": (*Cache).Free, "FreeRCU": (*Cache).FreeRCU, "FreeDeferred": (*Cache).FreeDeferred,
		"FreeBulk": func(c *Cache, p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) },
	}
	for first, free := range frees {
		for second, again := range frees {
			c := openRecorder(t, nil, Config{Size: 64, Debug: "FZPU"})
			p := take(t, c.Cache, 1)[0]
			free(c.Cache, p)
			again(c.Cache, p)
			if len(c.Reports) != 1 || c.Reports[0].Kind != hooks.DoubleFree || !strings.Contains(c.Reports[0].History, "Freed on CPU") {
				t.Errorf("%s, then %s: %+v", first, second, c.Reports)
			}
			same(t, "Barrier", c.Barrier(t.Context()), nil)
		}
	}
}

// What follows a report: a panic, which loses no object, or nothing, as the config or the
// environment says. Nothing is lost by a panic of an allocation or a free.
func TestDebugAction(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	for _, c := range []struct {
		config, env DebugAction
		hook        bool
		panics      bool
	}{
		{0, 0, false, true}, {0, 0, true, false}, {DebugRepair, 0, false, false}, {0, DebugRepair, false, false},
		{DebugPanic, DebugRepair, true, true}, {0, DebugPanic, true, true}, {DebugRepair, DebugPanic, true, false},
	} {
		setDebug(t, "", c.env)
		cfg, called := Config{Size: 64, Debug: "FZP", DebugAction: c.config}, 0
		if c.hook {
			cfg.Hooks.Report = func(*hooks.Report) { called++ }
		}
		cache := open(t, nil, cfg)
		for _, write := range []int{64, 5} {
			called = 0
			p := take(t, cache, 1)[0]
			panicked := func() (did bool) {
				defer func() {
					var r *hooks.Report
					err, ok := recover().(error)
					did = ok && errors.As(err, &r)
				}()
				if write == 64 {
					*at(p, write) = 1
					cache.Free(p)
				} else {
					cache.Free(p)
					*at(p, write) = 1
					q, err := cache.Alloc()
					same(t, "Alloc", err, nil)
					cache.Free(q)
				}
				return false
			}()
			if panicked != c.panics || (called == 1) != c.hook || cache.Stats().InUse != 0 {
				t.Errorf("%+v: panicked %t, hook called %d times, %d in use", c, panicked, called, cache.Stats().InUse)
			}
			same(t, "Validate", cache.Validate(), nil)
		}
	}
}

// DebugAbort ends the process, although the caller recovers.
func TestDebugAbort(t *testing.T) {
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	out, isChild, err := testutil.Rerun(t, "SLUBD_DEBUG=FZ,abort*;X", "SLUBD_DEBUG_ACTION=abort")
	if isChild {
		defer func() { _ = recover() }()
		c, err := New(newArena(t, arena.Config{}), Config{Name: "abort-1", Size: 64})
		if err != nil {
			t.Fatal(err)
		}
		p := take(t, c, 1)[0]
		*at(p, 64) = 1
		c.Free(p)
		return
	}
	for _, text := range []string{"BUG abort-1 (debug FZ): Right Redzone overwritten", "SLUBD_DEBUG: this block is ignored: ", "panic: "} {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in:\n%s", text, out)
		}
	}
	if err == nil {
		t.Error("the process has gone on")
	}
}
