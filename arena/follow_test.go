package arena

import (
	"errors"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/mem"
)

// TestFollowedLimit: a tenth and the larger of Go's live heap and an eighth of the rest are left.
func TestFollowedLimit(t *testing.T) {
	for _, c := range []struct{ total, live, want int64 }{
		{Unlimited, 0, Unlimited},
		{1000, 0, 900 - 112},
		{1000, 112, 900 - 112},
		{1000, 500, 400},
		{1000, 2000, 0},
	} {
		if got := followedLimit(c.total, c.live); got != c.want {
			t.Errorf("of %d bytes with %d live: %d, want %d", c.total, c.live, got, c.want)
		}
	}
}

// testHost is a host of which a test says how much the process may have. Go's heap is empty there.
func testHost(total func() int64) *watch {
	return testWatch(func() (int64, error) { return total(), nil }, func() int64 { return 0 })
}

// testWatch is a watch whose timer only the test fires.
func testWatch(available func() (int64, error), live func() int64) *watch {
	w := newWatch(available, live)
	w.period = time.Hour
	return w
}

// TestLimitFollowsMemory: the limit changes with what the process may have, at each reading, while
// the arena has memory. A limit set by hand stays, until 0 makes it automatic again.
func TestLimitFollowsMemory(t *testing.T) {
	const gib = 1 << 30
	total := int64(64 * gib)
	host := testHost(func() int64 { return total })
	a := open(t, Config{Limit: FollowMemory, watch: host})
	limit := func(when string, total int64) {
		t.Helper()
		if got, most := a.Limit(), followedLimit(total, 0); got > most || got < most/2 {
			t.Errorf("%s: a limit of %d bytes, want about %d", when, got, most)
		}
	}
	limit("at first", 64*gib)
	if host.timer.Armed() {
		t.Error("the timer runs although the arena has no memory")
	}
	run, err := a.AllocPages(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !host.timer.Armed() {
		t.Error("the timer doesn't run although the arena has memory")
	}
	total = 8 * gib
	host.timer.Fire()
	limit("when less is left", 8*gib)
	if !host.timer.Armed() {
		t.Error("the timer has stopped although the arena has memory")
	}
	a.SetLimit(maxRun)
	host.timer.Fire()
	if got := a.Limit(); got != maxRun {
		t.Errorf("the limit set by hand became %d", got)
	}
	total = 16 * gib
	a.SetLimit(0)
	limit("automatic again", 16*gib)
	total = 4096
	host.timer.Fire()
	if _, err := a.AllocPages(1, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("with nothing left: %v, want ErrLimit", err)
	}
	a.Free(run.Page)
}

// TestLimitSetWhileFollowing: a limit that is set by hand while the memory is being read stays, and
// so does one of the same number of bytes as before.
func TestLimitSetWhileFollowing(t *testing.T) {
	reading := func() int64 { return 64 << 30 }
	host := testHost(func() int64 { return reading() })
	a := open(t, Config{Limit: FollowMemory, watch: host})
	for _, byHand := range []int64{maxRun, a.Limit()} {
		a.SetLimit(FollowMemory)
		reading = func() int64 { a.SetLimit(byHand); return 32 << 30 }
		host.timer.Fire()
		if got := a.Limit(); got != byHand {
			t.Errorf("the limit of %d bytes set by hand became %d", byHand, got)
		}
		reading = func() int64 { return 64 << 30 }
	}
}

// TestLessMemory: when the process may have less, freed runs that exceed the new limit are
// discarded and shrinkers are called, although nothing is allocated.
func TestLessMemory(t *testing.T) {
	reading := func() int64 { return 64 << 30 }
	host := testHost(func() int64 { return reading() })
	a := open(t, Config{Limit: FollowMemory, watch: host})
	defer host.timer.Stop()
	kept, freed := alloc(t, a, 0, 0), alloc(t, a, MaxOrder-1, 0)
	a.Free(freed.Page)
	asked := make(chan bool, 1)
	stop := a.AddShrinker(Shrinker{Count: func() int64 { return 1 }, Scan: func(int64) int64 {
		select {
		case asked <- true:
		default:
		}
		return 0
	}})
	defer stop()
	reading = func() int64 { return mem.PageSize }
	host.timer.Fire()
	if n := a.Stats().Nodes[0]; n.Free != 0 || n.Used != mem.PageSize {
		t.Errorf("%d bytes are free and %d in use with a limit of %d", n.Free, n.Used, a.Limit())
	}
	select {
	case <-asked:
	case <-time.After(10 * time.Second):
		t.Error("no shrinker was called")
	}
	a.Free(kept.Page)
}

// TestMappingIsFollowed: the limit follows while a mapping is all that the arena has. After
// Close the timer is not armed again.
func TestMappingIsFollowed(t *testing.T) {
	host := testHost(func() int64 { return 64 << 30 })
	a := open(t, Config{Limit: FollowMemory, watch: host})
	addr := mapped(t, a, 5*mib)
	if !host.timer.Armed() {
		t.Error("the timer doesn't run although a mapping is in use")
	}
	a.Unmap(addr)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	host.timer.Fire()
	if host.timer.Armed() {
		t.Error("the timer of a closed arena runs")
	}
}

// TestDefaultFollows: the default arena has a limit, and other arenas have none.
func TestDefaultFollows(t *testing.T) {
	a, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if total := AvailableMemory(); total > 0 && (a.Limit() == Unlimited || a.Limit() > total) {
		t.Errorf("the default arena's limit is %d of %d bytes", a.Limit(), total)
	}
	if other := open(t, Config{}); other.Limit() != Unlimited {
		t.Errorf("another arena has a limit of %d bytes", other.Limit())
	}
}
