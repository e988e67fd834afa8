package slub_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/slub"
)

// reportOf returns the report that f panics with.
func reportOf(t *testing.T, f func()) (r *hooks.Report) {
	t.Helper()
	defer func() {
		t.Helper()
		err, _ := recover().(error)
		if err = fmt.Errorf("wrapped: %w", err); !errors.As(err, &r) {
			t.Errorf("no report: %v", err)
			r = new(hooks.Report)
		}
	}()
	f()
	return nil
}

// A report says what the pointer is that was freed, whichever cache or Buckets got it.
func TestReportSaysWhatPointerIs(t *testing.T) {
	withoutSamples(t) // the reports about guarded objects are others
	a := newArena(t, arena.Config{})
	const size = 20 // the slot has 24 bytes, the slab 16 behind the last of 170
	conn := open(t, a, slub.Config{Name: "conn", Size: size})
	values := openBuckets(t, a, slub.BucketsConfig{Name: "values"})
	obj, class := take(t, conn, 1)[0], malloc(t, values, 100)
	run, mapping := malloc(t, values, 2<<20), malloc(t, values, 8<<20)
	defer func() {
		conn.Free(obj)
		for _, p := range []unsafe.Pointer{class, run, mapping} {
			values.Free(p)
		}
	}()
	slab, order := slabOf(conn, obj), conn.Stats().Order
	frees := map[string]func(unsafe.Pointer){
		"slub.Free":     slub.Free,
		"slub.FreeRCU":  slub.FreeRCU,
		"Buckets.Free":  openBuckets(t, nil, slub.BucketsConfig{Name: "elsewhere"}).Free,
		"Buckets.Free2": openBuckets(t, a, slub.BucketsConfig{Name: "beside"}).Free,
		"Cache.Free":    open(t, a, slub.Config{Name: "victim", Size: size}).Free,
		"Cache.FreeRCU": open(t, nil, slub.Config{Name: "far", Size: size}).FreeRCU,
	}
	for _, tt := range []struct {
		p      unsafe.Pointer
		owner  string
		detail string
	}{
		{obj, "conn", ""},
		{unsafe.Add(obj, 8), "conn", fmt.Sprintf("8 bytes into the object of 20 at %p", obj)},
		{unsafe.Add(obj, size), "conn", fmt.Sprintf("in the unused bytes behind the object at %p", obj)},
		{mem.Ptr(slab + mem.PageSize<<order/24*24), "conn", "behind the last object of its slab"},
		{class, "values-112", `it is of buckets "values"`},
		{run, "values", "a page run of these buckets"},
		{unsafe.Add(run, 1<<20), "values", fmt.Sprintf("1048576 bytes into the page run of 2097152 at %p", run)},
		{mapping, "values", "a mapping of these buckets"},
		{unsafe.Add(mapping, 1), "values", fmt.Sprintf("1 byte into the mapping of 8388608 at %p", mapping)},
		{mem.Ptr(a.Addr(a.Pages()) - 8), "", "its page holds no slab; if it ever was an object, its slab or pages have been given back"},
		{unsafe.Pointer(new([64]byte)), "", onGoHeap()},
		{unsafe.Pointer(&global), "", "in no open arena and not on Go's heap: C memory, a global variable, an object above 4 MiB that has been freed, or of a closed arena"},
	} {
		kind := hooks.WrongCache
		if tt.owner == "" {
			kind = hooks.ForeignPointer
		}
		for how, free := range frees {
			r := reportOf(t, func() { free(tt.p) })
			if r.Kind != kind || r.Owner != tt.owner || r.Detail != tt.detail || r.Addr != uintptr(tt.p) || r.Cache == "" {
				t.Errorf("%s of %p: %v, want owner %q: %s", how, tt.p, r, tt.owner, tt.detail)
			}
		}
	}
	for p, want := range map[unsafe.Pointer]string{
		unsafe.Add(run, 4096):  fmt.Sprintf("misaligned pointer at %p (slab %p+4096): 4096 bytes into the page run", unsafe.Add(run, 4096), run),
		unsafe.Add(class, 101): fmt.Sprintf("misaligned pointer at %p", unsafe.Add(class, 101)),
	} {
		if r := reportOf(t, func() { values.Free(p) }); r.Kind != hooks.MisalignedPointer || r.Owner != "" || !strings.Contains(r.Error(), want) {
			t.Errorf("of their own: %v, want %s", r, want)
		}
	}
}

// onGoHeap is what is said of an object on Go's heap.
func onGoHeap() string {
	if _, known := percpu.OnStack(0); !known {
		return "on Go's heap or a goroutine's stack"
	}
	return "on Go's heap or another goroutine's stack"
}

var global [64]byte
