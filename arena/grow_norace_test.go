//go:build !race

package arena

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// rangeEnd is the address behind the range.
func rangeEnd(a *Arena) uintptr { return a.base + a.size }

// A new arena's range can't be accessed. It becomes writable in steps as it is carved, one step
// ahead from the second on, and consists of two mappings however far that is.
func TestRangeBecomesWritableInSteps(t *testing.T) {
	forgetRanges(t)
	a := open(t, Config{Span: 64 * mib})
	expectParts(t, "new", a.base, rangeEnd(a), "---p")
	z := &a.zones[0]
	var runs []Run
	for i := range 10 {
		run := alloc(t, a, MaxOrder, 0)
		words(a, run)[len(words(a, run))-1] = 1
		runs = append(runs, run)
		waitAhead(a)
		want := uint32(i+1) * growStep
		if i > 0 {
			want += growStep
		}
		if z.writable != want {
			t.Errorf("%d runs: %d pages are writable, want %d", i+1, z.writable, want)
		}
		expectParts(t, fmt.Sprint(i+1, " runs"), a.base, rangeEnd(a), "rw-p", "---p")
	}
	for _, p := range parts(t, a.base, rangeEnd(a)) {
		if noDump := strings.Contains(p.flags, " dd "); noDump == (p.access == "rw-p") {
			t.Errorf("%+v: left out of core dumps: %v", p, noDump)
		}
	}
	for _, run := range runs {
		a.Free(run.Page)
	}
}

// When the kernel refuses to make pages writable, Alloc fails with ErrCommit, which is counted.
// Nothing is lost: what is writable is handed out, and later calls succeed.
func TestRefusedGrowth(t *testing.T) {
	for n := 1; n <= 4; n++ { // the three arrays of the page map, and the range
		forgetRanges(t)
		a := open(t, Config{Topology: nodes(t, 0, 1)})
		restore := sys.FailNth(sys.CallProtect, n, syscall.ENOMEM)
		_, err := a.Alloc(0, 1)
		restore()
		if !errors.Is(err, ErrCommit) || !errors.Is(err, ErrNoMemory) || !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("refusal %d: %v", n, err)
		}
		if s := a.Stats(); s.CommitFailures != 1 || s.Nodes[1] != (NodeStats{Node: 1, Reserved: 8 * mib, Limit: s.Nodes[1].Limit, Placement: s.Nodes[1].Placement}) {
			t.Errorf("refusal %d left %+v", n, s)
		}
		check(a)
		run := alloc(t, a, MaxOrder, 1)
		words(a, run)[0] = 1
		a.Free(run.Page)
	}
}

// While the kernel refuses, what is writable is used: clean and dirty parts are merged for a run
// that needs both.
func TestRefusedGrowthUsesWhatIsWritable(t *testing.T) {
	a := open(t, Config{})
	a.Free(alloc(t, a, 0, 0).Page)
	defer sys.FailNth(sys.CallProtect, 0, syscall.ENOMEM)()
	run := alloc(t, a, MaxOrder, 0)
	if !run.Zero {
		t.Errorf("%+v is not zero", run)
	}
	if _, err := a.Alloc(0, 0); !errors.Is(err, ErrCommit) {
		t.Errorf("a page beyond what is writable: %v", err)
	}
	if s := a.Stats(); s.CommitFailures != 2 { // each Alloc asked once
		t.Errorf("%d refusals were counted", s.CommitFailures)
	}
	a.Free(run.Page)
	a.Free(alloc(t, a, 3, 0).Page)
}

// A refusal ahead of need fails no Alloc. The next step then waits for an Alloc that needs it.
func TestRefusedGrowthAhead(t *testing.T) {
	a := open(t, Config{Span: 32 * mib})
	first := alloc(t, a, MaxOrder, 0)
	z := &a.zones[0]
	if err := a.grow(z); err != nil {
		t.Fatal(err)
	}
	restore := sys.FailNth(sys.CallProtect, 0, syscall.ENOMEM)
	second := alloc(t, a, MaxOrder, 0)
	waitAhead(a)
	a.Free(second.Page)
	a.Free(alloc(t, a, MaxOrder, 0).Page)
	restore()
	if s := a.Stats(); s.CommitFailures != 1 || z.ahead || !z.refused {
		t.Errorf("%d refusals were counted, ahead %v, refused %v", s.CommitFailures, z.ahead, z.refused)
	}
	second, third := alloc(t, a, MaxOrder, 0), alloc(t, a, MaxOrder, 0)
	waitAhead(a)
	if z.refused || z.writable != 4*growStep {
		t.Errorf("%d pages are writable, refused %v", z.writable, z.refused)
	}
	for _, run := range []Run{first, second, third} {
		a.Free(run.Page)
	}
}

// A mapping is writable as far as it was handed out, and its refusal loses nothing.
func TestMappingBecomesWritable(t *testing.T) {
	forgetRanges(t)
	a := open(t, Config{HugePages: HugeSystem}) // no part is kept from huge pages
	restore := sys.FailNth(sys.CallProtect, 1, syscall.ENOMEM)
	_, _, err := a.Map(5*mib, 0)
	restore()
	if charged, _ := a.ledger.load(); !errors.Is(err, ErrCommit) || charged != 0 || a.Stats().CommitFailures != 1 {
		t.Errorf("refused: %v, %d pages charged", err, charged)
	}
	for _, n := range []int64{5 * mib, 6 * mib, 5 * mib} {
		addr := mapped(t, a, n)
		mem.Bytes(addr, uintptr(n))[n-1] = 1
		expectParts(t, fmt.Sprint(n), addr, addr+8*mib, "rw-p", "---p")
		a.Unmap(addr)
	}
}

// RLIMIT_DATA counts what was carved, not what is reserved, and its refusal is ErrCommit.
func TestDataLimit(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	keepForRuntime()
	// The arena grows by 4 MiB at a time, so the limit never leaves the runtime less than 2 MiB.
	limit := dataSize(t) + 67*mib
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what a closed arena had made writable counts no more
		a := open(t, Config{Span: 16 << 30})
		var runs []Run
		for {
			run, err := a.Alloc(MaxOrder, 0)
			if err != nil {
				if !errors.Is(err, ErrCommit) || !errors.Is(err, syscall.ENOMEM) {
					t.Error(err)
				}
				break
			}
			runs = append(runs, run)
		}
		if n := len(runs); n < 5 || n > 16 {
			t.Errorf("%d runs of 4 MiB fit into 67 MiB", n)
		}
		for _, run := range runs {
			a.Free(run.Page)
		}
		a.Free(alloc(t, a, MaxOrder, 0).Page)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// keepForRuntime makes Go's heap 8 MiB larger than it has to be, starts threads, and turns the
// collector off. The process ends if the runtime is refused memory for one of them.
func keepForRuntime() {
	runtime.KeepAlive(make([]byte, 8*mib))
	runtime.GC()
	debug.SetGCPercent(-1)
	const threads = 8
	var all, done sync.WaitGroup
	all.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		})
	}
	done.Wait()
}

// dataSize is what RLIMIT_DATA counts, in bytes.
func dataSize(t *testing.T) (bytes uint64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(text), "VmData:")
	if n, err := fmt.Sscanf(line, "%d kB", &bytes); n != 1 {
		t.Fatal(err)
	}
	return bytes << 10
}

// mlockall(MCL_FUTURE) makes what is carved resident, not the reservation, and freed runs are given
// back although they are locked.
func TestMlockall(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	lockFuture(t)
	a, err := New(Config{Span: 1 << 30, Limit: 64 * mib, Topology: nodes(t, 0), MaxDirty: Unlimited, Decay: None})
	if errors.Is(err, syscall.EAGAIN) { // beyond RLIMIT_MEMLOCK, without CAP_IPC_LOCK
		if !errors.Is(err, ErrReserve) {
			t.Errorf("the limit on locked memory refuses the range: %v", err)
		}
		return
	} else if err != nil {
		t.Fatal(err)
	}
	// Not the process's resident memory: the runtime may start threads, whose stacks are locked,
	// too.
	resident := func() uintptr { return inCore(t, a.base, a.size) + inCore(t, a.pages.metas, a.pages.bytes()) }
	if n := resident(); n > 8*mib {
		t.Errorf("a new arena of 1 GiB has %d KiB resident", n>>10)
	}
	run := alloc(t, a, MaxOrder, 0)
	words(a, run)[0] = 1
	if n := resident(); n > 16*mib {
		t.Errorf("with a run of 4 MiB %d KiB are resident", n>>10)
	}
	a.Free(run.Page)
	released := a.Purge(0)
	again := alloc(t, a, MaxOrder, 0)
	switch {
	case released == 0 && a.Stats().DiscardFailures > 0: // before Linux 5.18
		if again.Zero {
			t.Error("a run that was not discarded is said to be zero")
		}
		return
	case released != maxRun:
		t.Errorf("Purge released %d bytes", released)
	case !again.Zero || !allZero(words(a, again)):
		t.Errorf("after Purge: %+v", again)
	}
	addr := a.Addr(again.Page)
	if n := inCore(t, addr, maxRun); n != maxRun {
		t.Errorf("%d bytes of a run of 4 MiB are resident", n)
	}
	a.Free(again.Page)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n := inCore(t, addr, maxRun); n != 0 {
		t.Errorf("a closed arena has %d bytes resident", n)
	}
}

// inCore returns how many of n bytes are resident.
func inCore(t *testing.T, addr, n uintptr) (bytes uintptr) {
	t.Helper()
	pages := make([]byte, mem.AlignUp(n, mem.PageSize)/mem.PageSize)
	if _, _, e := syscall.Syscall(syscall.SYS_MINCORE, addr, n, uintptr(unsafe.Pointer(&pages[0]))); e != 0 {
		t.Fatal(e)
	}
	for _, page := range pages {
		bytes += uintptr(page&1) * mem.PageSize
	}
	return bytes
}

// lockFuture has the kernel lock all memory that is mapped from now on, as far as RLIMIT_MEMLOCK
// goes.
func lockFuture(t *testing.T) {
	t.Helper()
	const mclFuture = 2
	if _, _, e := syscall.Syscall(syscall.SYS_MLOCKALL, mclFuture, 0, 0); e != 0 {
		t.Fatal(e)
	}
}
