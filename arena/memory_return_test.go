//go:build !race && !asan

package arena

// These tests are not built with a sanitizer: what it takes for itself is resident, too.

import (
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// A load grows and shrinks several times. Soon after it has shrunk, the process holds at most 1.15
// times the bytes that are live, the page map and the growth of Go's heap included. With the
// default Decay that takes less than ten seconds; here Decay is shorter, and nothing else gives
// memory back.
func TestMemoryIsReturnedWhenLoadFalls(t *testing.T) {
	const peak, trough, most = 192 * mib, 64 * mib, 1.15
	a := open(t, Config{Span: 2 * peak, MaxDirty: Unlimited, Decay: 80 * time.Millisecond, ReleaseRate: 1 << 32})
	rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	var live []Run
	var bytes int64
	before := resident(t)
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for round := range rounds {
		for bytes < peak {
			run := alloc(t, a, rng.IntN(7), 0)
			for page := range uint32(1) << run.Order {
				*mem.At[byte](a.Addr(run.Page + page)) = 1
			}
			live = append(live, run)
			bytes += mem.PageSize << run.Order
		}
		if n := resident(t); n < before+bytes*9/10 {
			t.Fatalf("round %d: %d bytes live, but %d resident, %d at first", round, bytes, n, before)
		}
		rng.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
		for bytes > trough {
			run := live[len(live)-1]
			live = live[:len(live)-1]
			a.Free(run.Page)
			bytes -= mem.PageSize << run.Order
		}
		start := time.Now()
		for resident(t) > before+int64(most*float64(bytes)) {
			if time.Since(start) > time.Minute {
				t.Fatalf("round %d: %d bytes live, %d resident, %d at first; %+v", round, bytes, resident(t), before, a.Stats())
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("round %d: %d MiB live, %d resident after %v", round, bytes/mib, (resident(t)-before)/mib, time.Since(start))
	}
	for _, run := range live {
		a.Free(run.Page)
	}
}

// What was touched is resident until Purge gives it back; Free keeps what is below MaxDirty.
func TestPurgeReturnsMemory(t *testing.T) {
	const size = 64 * mib
	a := open(t, Config{Span: size, MaxDirty: size})
	before := resident(t)
	var runs []Run
	for range size / maxRun {
		run := alloc(t, a, MaxOrder, 0)
		for page := range uint32(1) << run.Order {
			*mem.At[byte](a.Addr(run.Page + page)) = 1
		}
		runs = append(runs, run)
	}
	if n := resident(t); n < before+size*9/10 {
		t.Errorf("%d bytes resident, %d before %d bytes were touched", n, before, size)
	}
	for _, run := range runs {
		a.Free(run.Page)
	}
	if n := resident(t); n < before+size*9/10 {
		t.Errorf("%d bytes resident, %d before: Free has discarded below MaxDirty", n, before)
	}
	if n := a.Purge(0); n != size {
		t.Errorf("Purge released %d bytes", n)
	}
	if n := resident(t); n > before+size/10 {
		t.Errorf("%d bytes resident after Purge, %d before", n, before)
	}
}

// resident is the process' anonymous memory, without what Go could give back, and would, later.
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	n, err := sys.ReadRSS()
	if err != nil {
		t.Fatal(err)
	}
	return int64(n)
}
