package arena

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

func TestRefusedReservationIsHalvedTwice(t *testing.T) {
	topo := nodes(t, 0)
	for _, c := range []struct {
		span    uint64
		refused bool // the first reservation is
		want    uintptr
	}{
		{512 * mib, false, 512 * mib},
		{512 * mib, true, 128 * mib}, // 256 is granted, half of it taken
		{128 * mib, true, 64 * mib},  // the floor
		{32 * mib, false, 32 * mib},  // below the floor by wish
	} {
		restore := func() {}
		if c.refused {
			restore = sys.FailNth(sys.CallReserve, 1, syscall.ENOMEM)
		}
		a, err := New(Config{Span: c.span, Topology: topo})
		restore()
		if err != nil {
			t.Errorf("span %d: %v", c.span, err)
			continue
		}
		if a.Span() != c.want || a.Stats().Nodes[0].Reserved != uint64(c.want) {
			t.Errorf("span %d, refused %v: got %d, want %d", c.span, c.refused, a.Span(), c.want)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Every reservation that New makes fails once, and from then on: it gets by
// with less or says so, and leaves nothing mapped.
func TestEveryReservationFails(t *testing.T) {
	cfg := Config{Span: 128 * mib, Topology: nodes(t, 0)}
	before := addressSpace(t)
	for n := 1; n <= 5; n++ {
		restore := sys.FailNth(sys.CallReserve, n, syscall.ENOMEM)
		a, err := New(cfg)
		restore()
		if err != nil {
			t.Errorf("reservation %d fails: %v", n, err)
		} else if err := a.Close(); err != nil {
			t.Error(err)
		}
		restore = sys.FailNth(sys.CallReserve, -n, syscall.ENOMEM)
		a, err = New(cfg)
		restore()
		if err == nil {
			err = a.Close()
		} else if errors.Is(err, ErrReserve) && errors.Is(err, ErrNoMemory) && errors.Is(err, syscall.ENOMEM) {
			err = nil
		}
		if err != nil {
			t.Errorf("reservations fail from the %d. on: %v", n, err)
		}
	}
	if after := addressSpace(t); !heapBacked && after > before+2*cfg.Span {
		t.Errorf("%d bytes mapped, %d before", after, before)
	}
}

// addressSpace is the bytes that the process has mapped. What the Go runtime
// maps beside the tests is well below the spans that they make.
func addressSpace(t *testing.T) uint64 {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.ParseUint(strings.Fields(string(statm))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * mem.PageSize
}

// Trimming is good manners: an arena works without.
func TestRefusedTrim(t *testing.T) {
	restore := sys.FailNth(sys.CallUnmap, 0, syscall.ENOMEM)
	a, err := New(Config{Span: 8 * mib, Topology: nodes(t, 0)})
	restore()
	if err != nil {
		t.Fatal(err)
	}
	if a.Base()%maxRun != 0 {
		t.Errorf("base %#x", a.Base())
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestUnsupportedIsNotHalved(t *testing.T) {
	defer sys.FailNth(sys.CallReserve, 1, sys.ErrUnsupported)()
	_, err := New(Config{Topology: nodes(t, 0)})
	if !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, ErrNoMemory) {
		t.Errorf("New without mmap: %v", err)
	}
}

// The real thing: with RLIMIT_AS an arena comes up smaller, and the Go heap
// still has room.
func TestAddressSpaceLimit(t *testing.T) {
	if heapBacked {
		t.Skip("race build: no address space limit leaves room for the detector's shadow")
	}
	out, isChild, err := testutil.Rerun(t)
	if !isChild {
		if err != nil || !strings.Contains(out, "PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	limit := addressSpace(t) + 1<<30
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Skip(err)
	}
	a := open(t, Config{Span: 64 << 30})
	if a.Span() < spanFloor || a.Span() > 512*mib {
		t.Errorf("span %d under a limit of 1 GiB", a.Span())
	}
	a.Free(alloc(t, a, MaxOrder, 0).Page)
	heap := make([]byte, 256*mib) // the runtime crashes if it can't have it
	runtime.KeepAlive(heap)
	if _, err := New(Config{Span: 64 << 30, Topology: nodes(t, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}); !errors.Is(err, ErrReserve) || !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("16 nodes under a limit of 1 GiB: %v", err)
	}
}

func TestValidateReportsAllProblems(t *testing.T) {
	err := Config{Span: 1 << 60, Limit: 1, HugePages: 9, Strictness: 9}.Validate()
	for _, want := range []string{"Span", "Limit", "HugePages", "Strictness"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in %v", want, err)
		}
	}
	if _, err := New(Config{Limit: 1}); !errors.Is(err, ErrConfig) {
		t.Errorf("New: %v", err)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestDefaults(t *testing.T) {
	cfg := Config{}.withDefaults()
	if cfg.Topology != numa.System() || cfg.Name == "" || !mem.IsPow2(uintptr(cfg.Span)) {
		t.Errorf("%+v", cfg)
	}
	for _, c := range []struct{ span, want uint64 }{{1, maxRun}, {maxRun + 1, 2 * maxRun}, {100 * mib, 128 * mib}} {
		if got := (Config{Span: c.span}).withDefaults().Span; got != c.want {
			t.Errorf("span %d becomes %d, want %d", c.span, got, c.want)
		}
	}
	topo := nodes(t, 0, 1)
	if got := memorySpan(topo); got != 2<<30 {
		t.Errorf("nodes of 1 GiB: span %d", got)
	}
	if heapBacked {
		return
	}
	if got := (Config{Topology: topo, Span: maxRange / 2}).withDefaults().Span; 2*got > maxRange {
		t.Errorf("two nodes of %d bytes exceed 32-bit page numbers", got)
	}
}

func TestForeignPageSize(t *testing.T) {
	_, err := New(Config{kernelPage: 16384})
	if !errors.Is(err, ErrPageSize) || !strings.Contains(err.Error(), "16384") {
		t.Errorf("New on a kernel with pages of 16 KiB: %v", err)
	}
}

func TestDefaultIsOne(t *testing.T) {
	a, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := Default(); a != b {
		t.Error("two default arenas")
	}
	a.Free(alloc(t, a, 0, a.Topology().Fallback(numa.NoNode)[0]).Page)
}
