package arena

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// A load that rises and falls: at the bottom of each tooth the process holds
// at most 1.15 times what is live, the page map and Go's own growth included.
// With the default Decay that takes less than ten seconds; here the wait is
// shorter, and nothing but Decay gives anything back.
func TestSawtooth(t *testing.T) {
	if heapBacked {
		t.Skip("race build: the kernel gets nothing back")
	}
	const peak, trough, most = 192 * mib, 64 * mib, 1.15
	a := open(t, Config{Span: 2 * peak, MaxDirty: 1 << 40, Decay: 80 * time.Millisecond, ReleaseRate: 1 << 32})
	rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	var live []Run
	var bytes uint64
	before := resident(t)
	for tooth := range 3 {
		for bytes < peak {
			run := alloc(t, a, rng.IntN(7), 0)
			for page := range uint32(1) << run.Order {
				*mem.At[byte](a.Addr(run.Page + page)) = 1
			}
			live = append(live, run)
			bytes += mem.PageSize << run.Order
		}
		if n := resident(t); n < before+bytes*9/10 {
			t.Fatalf("tooth %d: %d bytes live, but %d resident, %d at first", tooth, bytes, n, before)
		}
		rng.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
		for bytes > trough {
			run := live[len(live)-1]
			live = live[:len(live)-1]
			a.Free(run.Page)
			bytes -= mem.PageSize << run.Order
		}
		start := time.Now()
		for resident(t) > before+uint64(most*float64(bytes)) {
			if time.Since(start) > time.Minute {
				t.Fatalf("tooth %d: %d bytes live, %d resident, %d at first; %+v", tooth, bytes, resident(t), before, a.Stats())
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("tooth %d: %d MiB live, %d resident after %v", tooth, bytes/mib, (resident(t)-before)/mib, time.Since(start))
	}
	for _, run := range live {
		a.Free(run.Page)
	}
}

// resident is the process' anonymous memory, without what Go could give back.
func resident(t *testing.T) uint64 {
	t.Helper()
	runtime.GC()
	n, err := sys.ReadRSS()
	if err != nil {
		t.Skip(err)
	}
	return n
}
