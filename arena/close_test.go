package arena

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

func TestCloseIsIdempotent(t *testing.T) {
	var none *Arena
	if err := none.Close(); err != nil {
		t.Error(err)
	}
	a := open(t, Config{})
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Alloc(0, 0); !errors.Is(err, ErrClosed) || errors.Is(err, ErrNoMemory) {
		t.Errorf("Alloc after Close: %v", err)
	}
}

func TestCloseWhileBusy(t *testing.T) {
	a := open(t, Config{Name: "shop"})
	run := alloc(t, a, 3, 0)
	words(a, run)[0] = 42
	err := a.Close()
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "arena shop: ") || !strings.Contains(err.Error(), "1 run, 0 mappings, 32768 bytes") {
		t.Errorf("Close with a run of 8 pages: %v", err)
	}
	if words(a, run)[0] != 42 {
		t.Error("a refused Close lost the contents")
	}
	a.Free(alloc(t, a, 0, 0).Page)
	a.Free(run.Page)
}

// The range and the page map of a closed arena stay mapped and read zero.
func TestClosedRangeStaysMapped(t *testing.T) {
	a := open(t, Config{})
	run := alloc(t, a, 3, 0)
	for i := range words(a, run) {
		words(a, run)[i] = 1
	}
	a.SetOwner(run.Page, 8, 9)
	meta := mem.Bytes(uintptr(a.Meta(run.Page)), metaSize)
	meta[metaSize-1] = 0xff
	a.Free(run.Page)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if !allZero(words(a, run)) {
		t.Error("a closed arena kept its contents")
	}
	if _, _, ok := a.Head(run.Page); ok || a.Owner(run.Page) != 0 || meta[metaSize-1] != 0 {
		t.Error("a closed arena has runs or records")
	}
	if n := a.Stats().Nodes[0]; n.Used+n.Free+n.Purged != 0 || a.Purge(0) != 0 {
		t.Errorf("a closed arena holds memory: %+v", n)
	}
}

func TestCloseReportsRefusal(t *testing.T) {
	a := open(t, Config{})
	a.Free(alloc(t, a, 0, 0).Page)
	restore := sys.FailNth(sys.CallReplace, 0, syscall.EINVAL)
	err := a.Close()
	restore()
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Close with the kernel refusing: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}
