//go:build amd64 || arm64

package slub_test

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/slub"
)

// A report says that a pointer lies on the stack of the goroutine that frees it.
func TestReportOfStack(t *testing.T) {
	var details []string
	c := open(t, nil, slub.Config{Name: "stack", Size: 64, Hooks: hooks.Hooks{Report: func(r *hooks.Report) { details = append(details, r.Detail) }}})
	for tries := 1; !freeOnStack(c); tries++ {
		if tries == 100 {
			t.Fatal("no local variable is on the stack")
		}
	}
	if got := details[len(details)-1]; got != "on this goroutine's stack" {
		t.Errorf("a local variable: %s", got)
	}
}

// freeOnStack frees a local variable, and reports whether it still lay on the stack afterwards: a
// stack that grows moves. The compiler moves what Free gets to the heap, so the pointer comes from
// an integer; with -asan, and where pointers are checked, it would move this one, too.
//
//go:nocheckptr
func freeOnStack(c *slub.Cache) bool {
	var local [64]byte
	addr := uintptr(unsafe.Pointer(&local))
	c.Free(mem.Ptr(addr))
	on, _ := percpu.OnStack(addr)
	return on
}
