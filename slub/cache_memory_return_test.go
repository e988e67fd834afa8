package slub_test

import (
	"context"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// A peakLoad allocates sessions until a peak and frees some until a trough. Each session is some
// MiB of objects of several caches and values of several sizes.
type peakLoad struct {
	t        *testing.T
	caches   []*slub.Cache
	buckets  *slub.Buckets
	rng      *rand.Rand
	sessions [][]item
	live     uint64 // bytes of objects in use
	at       int    // calls of give
}

// An item is one object of a cache, or of the buckets if cache is nil.
type item struct {
	p     unsafe.Pointer
	cache *slub.Cache
}

// sessionBytes is the size of a session. A session leaves a half-empty slab for each of its
// classes, since its neighbours end at other times, so small sessions of many classes would hold
// much memory.
const sessionBytes = 8 * mib

// valueSizes are the sizes of values; the last is that of a page class.
var valueSizes = []int{100, 100, 700, 700, 3000, 3000, 100_000}

func (s *peakLoad) rise(peak uint64) {
	for s.live < peak {
		// Objects of all caches lie in the order of allocation; they are freed in a random order.
		session := s.sessions[:len(s.sessions)+1][len(s.sessions)][:0]
		for end := s.live + sessionBytes; s.live < end; {
			session = append(session, s.get())
		}
		s.sessions = append(s.sessions, session)
	}
}

func (s *peakLoad) get() (v item) {
	var err error
	if i := s.rng.IntN(len(s.caches) + 1); i < len(s.caches) {
		v.cache = s.caches[i]
		v.p, err = v.cache.Alloc()
	} else {
		n := valueSizes[s.rng.IntN(len(valueSizes))]
		v.p, err = s.buckets.Malloc(n)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	n := s.size(v)
	for at := uint64(0); at < n; at += 512 { // makes all pages resident
		*(*byte)(unsafe.Add(v.p, at)) = 1
	}
	s.live += n
	return v
}

func (s *peakLoad) size(v item) uint64 {
	if v.cache == nil {
		return uint64(s.buckets.Size(v.p))
	}
	return slotSize(v.cache)
}

// give frees one object, in one way after the other.
func (s *peakLoad) give(v item) {
	s.live -= s.size(v)
	s.at++
	switch {
	case v.cache == nil && s.at%2 == 0:
		s.buckets.FreeRCU(v.p)
	case v.cache == nil:
		s.buckets.Free(v.p)
	case s.at%3 == 0:
		v.cache.FreeRCU(v.p)
	case s.at%7 == 0:
		v.cache.FreeDeferred(v.p)
	default:
		v.cache.Free(v.p)
	}
}

// fall ends random sessions until the trough, and frees one object in a hundred of the others:
// these holes can't be given back without moving objects.
func (s *peakLoad) fall(trough uint64) {
	s.rng.Shuffle(len(s.sessions), func(i, j int) { s.sessions[i], s.sessions[j] = s.sessions[j], s.sessions[i] })
	for s.live > trough && len(s.sessions) > 0 {
		last := len(s.sessions) - 1
		ended := s.sessions[last]
		s.sessions = s.sessions[:last]
		s.rng.Shuffle(len(ended), func(i, j int) { ended[i], ended[j] = ended[j], ended[i] })
		for _, v := range ended {
			s.give(v)
		}
	}
	for i, session := range s.sessions {
		left := session[:0]
		for _, v := range session {
			if s.rng.IntN(100) == 0 {
				s.give(v)
			} else {
				left = append(left, v)
			}
		}
		s.sessions[i] = left
	}
}

// After each peak the process holds at most 1.15 times the bytes that are live. That includes
// sheaves, barns, partial slabs, the page map, and holes of freed objects in slabs. With the
// defaults it takes less than ten seconds, with Shrink or without, as the log shows; the time is
// not tested.
func TestMemoryReturnsAfterPeaks(t *testing.T) {
	if sanitized {
		t.Skip("sanitizers' own memory is resident, too")
	}
	const peak, trough, most = 256 * mib, 96 * mib, 1.15
	for name, test := range map[string]struct {
		cfg    arena.Config
		peaks  int
		shrink bool
	}{
		"Shrink":          {peaks: 2, shrink: true},
		"decay by itself": {peaks: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			// In a process of its own: other tests leave memory behind, some of which is just
			// being given back.
			out, isChild, err := testutil.Rerun(t)
			if !isChild {
				if t.Log(out); err != nil {
					t.Error(err)
				}
				return
			}
			cfg := test.cfg
			cfg.Span, cfg.HugePages = 1024*mib, arena.HugeNever
			a := newArena(t, cfg)
			s := &peakLoad{t: t, buckets: openBuckets(t, a, slub.BucketsConfig{}), rng: rand.New(rand.NewPCG(testutil.Seed(t), 0))}
			for _, size := range []int64{64, 192, 1000, 4096} {
				s.caches = append(s.caches, open(t, a, slub.Config{Size: size}))
			}
			// The test's own bookkeeping is resident before anything is measured.
			s.sessions = make([][]item, 2*peak/sessionBytes)
			for i := range s.sessions {
				s.sessions[i] = make([]item, 8000)
				for k := range s.sessions[i] {
					s.sessions[i][k].cache = s.caches[0]
				}
			}
			s.sessions = s.sessions[:0]
			before := anonymous(t)
			for n := range test.peaks {
				s.rise(peak)
				if now := anonymous(t); now < before+s.live*9/10 {
					t.Fatalf("peak %d: %d MiB live, but %d resident, %d at first", n, s.live/mib, now/mib, before/mib)
				}
				s.fall(trough)
				if test.shrink {
					for _, c := range append(s.buckets.Caches(), s.caches...) {
						if err := c.Barrier(context.Background()); err != nil {
							t.Fatal(err)
						}
						c.Shrink()
					}
				}
				start := time.Now()
				for now := anonymous(t); now > before+uint64(most*float64(s.live)); now = anonymous(t) {
					if time.Since(start) > time.Minute {
						t.Fatalf("peak %d: %d KiB live, %d resident, %d at first; %+v", n, s.live>>10, now>>10, before>>10, a.Stats())
					}
					time.Sleep(20 * time.Millisecond)
				}
				t.Logf("peak %d: %d MiB live, %d resident after %v", n, s.live/mib, (anonymous(t)-before)/mib, time.Since(start))
			}
			s.fall(0)
		})
	}
}

// anonymous returns the bytes of the process's anonymous memory, after Go has given back what it
// can.
func anonymous(t *testing.T) uint64 {
	t.Helper()
	debug.FreeOSMemory()
	n, err := sys.ReadRSS()
	if err != nil {
		t.Skip(err)
	}
	return n
}
