package arena

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// forgetRanges makes the arenas of a test reserve new ranges.
func forgetRanges(t *testing.T) {
	t.Helper()
	closedRanges.mu.Lock()
	defer closedRanges.mu.Unlock()
	clear(closedRanges.ranges)
	clear(closedRanges.mappings)
}

func TestRefusedReservationIsHalvedTwice(t *testing.T) {
	topo := nodes(t, 0)
	for _, c := range []struct {
		span    int64
		refused bool // whether the first reservation is
		want    int64
	}{
		{span: 512 * mib, want: 512 * mib},
		{span: 512 * mib, refused: true, want: 128 * mib}, // 256 is granted, half of it taken
		{span: 128 * mib, refused: true, want: 64 * mib},  // not below the floor
		{span: 32 * mib, want: 32 * mib},                  // below the floor by config
	} {
		forgetRanges(t)
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
		if a.Span() != c.want || a.Stats().Nodes[0].Reserved != c.want {
			t.Errorf("span %d, refused %v: got %d, want %d", c.span, c.refused, a.Span(), c.want)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Each reservation that New makes fails, alone and with all that follow: New reserves less or
// returns an error, and leaves nothing mapped.
func TestEveryReservationFails(t *testing.T) {
	cfg := Config{Span: 128 * mib, Topology: nodes(t, 0)}
	forgetRanges(t)
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
			t.Errorf("all reservations from number %d on fail: %v", n, err)
		}
	}
	if after := addressSpace(t); !heapBacked && after > before+2*uint64(cfg.Span) {
		t.Errorf("%d bytes mapped, %d before", after, before)
	}
}

// addressSpace is the number of bytes that the process has mapped. The Go runtime maps much less
// meanwhile than the spans of these tests.
func addressSpace(t *testing.T) uint64 {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseUint(strings.Fields(string(statm))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * mem.PageSize
}

// An arena works when the kernel refuses to unmap what alignment leaves over.
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

func TestValidateReportsAllProblems(t *testing.T) {
	err := Config{Name: "x", Span: 1 << 60, Limit: 1, HugePages: 9, Strictness: 9, MaxDirty: -2, Decay: -2, ReleaseRate: None}.Validate()
	var want []string
	for _, problem := range []string{
		"Limit: 1 byte, no page",
		"Span: 1152921504606846976 is not within 0..17592186040320",
		"MaxDirty: -2 is not within -1..9223372036854775807",
		"Decay: -2 is not within -1..9223372036854775807",
		"ReleaseRate: -1 is negative; Decay: None gives nothing back",
		"Strictness: 9 is not within 0..2",
		"HugePages: 9 is not within 0..3",
	} {
		want = append(want, `arena: arena "x": Config.`+problem)
	}
	if got := strings.Join(want, "\n"); err == nil || err.Error() != got {
		t.Errorf("problems are\n%v\nwant\n%s", err, got)
	}
	for _, cfg := range []Config{{Span: None}, {Span: Unlimited}, {Limit: None}, {Limit: mem.PageSize - 1}} {
		if err := cfg.Validate(); !errors.Is(err, ErrConfig) {
			t.Errorf("Span %d, Limit %d: %v", cfg.Span, cfg.Limit, err)
		}
	}
	for _, cfg := range []Config{
		{Limit: mem.PageSize, MaxDirty: None, Decay: None},
		{Limit: Unlimited, MaxDirty: Unlimited, Decay: Unlimited, ReleaseRate: Unlimited},
	} {
		if err := cfg.Validate(); err != nil {
			t.Errorf("%+v: %v", cfg, err)
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
	for _, c := range []struct{ span, want int64 }{
		{span: 1, want: maxRun}, {span: maxRun + 1, want: 2 * maxRun}, {span: 100 * mib, want: 128 * mib},
	} {
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

// A failure to make the default arena is not for ever.
func TestDefaultTriesAgain(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	_, err := Default()
	restore()
	if !errors.Is(err, ErrReserve) {
		t.Errorf("the kernel refuses: %v", err)
	}
	if a, err := Default(); err != nil || a == nil {
		t.Errorf("the kernel no longer refuses: %v", err)
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
