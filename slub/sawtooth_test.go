package slub

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
)

// A tooth is what a load allocates as it rises and frees as it falls: sessions of some
// MiB each, of objects of several caches and values of several sizes.
type tooth struct {
	t        *testing.T
	caches   []*Cache
	buckets  *Buckets
	rng      *rand.Rand
	sessions [][]item
	live     uint64 // bytes of objects that are out
	at       int    // turns of give
}

// item is one object: of a cache, or of the buckets where that is nil.
type item struct {
	p     unsafe.Pointer
	cache *Cache
}

// Where sessions are small, or their objects of many classes, each leaves as many slabs
// half empty as it has classes, since its neighbours end at other times.
const sessionBytes = 8 * mib

// sawSizes are those of values; the last one is a page run's.
var sawSizes = []int{100, 100, 700, 700, 3000, 3000, 100_000}

func (s *tooth) rise(peak uint64) {
	for s.live < peak {
		// What is freed in a random order later lies in the order of allocation now, of
		// all caches by turns.
		session := s.sessions[:len(s.sessions)+1][len(s.sessions)][:0]
		for end := s.live + sessionBytes; s.live < end; {
			session = append(session, s.get())
		}
		s.sessions = append(s.sessions, session)
	}
}

func (s *tooth) get() (v item) {
	var err error
	if i := s.rng.IntN(len(s.caches) + 1); i < len(s.caches) {
		v.cache = s.caches[i]
		v.p, err = v.cache.Alloc()
	} else {
		n := sawSizes[s.rng.IntN(len(sawSizes))]
		v.p, err = s.buckets.Malloc(n)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	n := s.size(v)
	for at := uint64(0); at < n; at += 512 { // makes all of its pages resident
		*(*byte)(unsafe.Add(v.p, at)) = 1
	}
	s.live += n
	return v
}

func (s *tooth) size(v item) uint64 {
	if v.cache == nil {
		return uint64(s.buckets.Size(v.p))
	}
	return uint64(v.cache.layout.slot)
}

// give frees one object, in each of the ways by turns.
func (s *tooth) give(v item) {
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

// fall ends random sessions, and has those that stay lose one object of thirty: holes
// that no allocator without moving objects gets back.
func (s *tooth) fall(trough uint64) {
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

// A load of real objects that rises and falls: at the bottom of each tooth the process
// holds at most 1.15 times what is live. Sheaves, barns, partial slabs, the page map, and
// holes of freed objects in slabs that stay are all in it. With the defaults that takes less
// than ten seconds, Shrink or no Shrink, as the log tells; how long is not tested.
func TestSawtooth(t *testing.T) {
	if sanitized {
		t.Skip("sanitizers' own memory is resident, too")
	}
	const peak, trough, most = 256 * mib, 96 * mib, 1.15
	for name, test := range map[string]struct {
		cfg    arena.Config
		teeth  int
		shrink bool
	}{
		"Shrink":          {arena.Config{}, 2, true},
		"decay by itself": {arena.Config{}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			// In a process of its own: other tests leave memory behind, some of it on its
			// way back.
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
			s := &tooth{t: t, buckets: openBuckets(t, a, BucketsConfig{}), rng: rand.New(rand.NewPCG(testutil.Seed(t), 0))}
			for _, size := range []uintptr{64, 192, 1000, 4096} {
				s.caches = append(s.caches, open(t, a, Config{Size: size, Flags: NoMerge}))
			}
			// What the test notes of its objects is there before anything is measured.
			s.sessions = make([][]item, 2*peak/sessionBytes)
			for i := range s.sessions {
				s.sessions[i] = make([]item, 8000)
				for k := range s.sessions[i] {
					s.sessions[i][k].cache = s.caches[0]
				}
			}
			s.sessions = s.sessions[:0]
			before := anonymous(t)
			for n := range test.teeth {
				s.rise(peak)
				if now := anonymous(t); now < before+s.live*9/10 {
					t.Fatalf("tooth %d: %d MiB live, but %d resident, %d at first", n, s.live/mib, now/mib, before/mib)
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
						t.Fatalf("tooth %d: %d KiB live, %d resident, %d at first; %+v", n, s.live>>10, now>>10, before>>10, a.Stats())
					}
					time.Sleep(20 * time.Millisecond)
				}
				t.Logf("tooth %d: %d MiB live, %d resident after %v", n, s.live/mib, (anonymous(t)-before)/mib, time.Since(start))
			}
			s.fall(0)
		})
	}
}

// anonymous is the process' anonymous memory, without what Go could give back.
func anonymous(t *testing.T) uint64 {
	t.Helper()
	debug.FreeOSMemory()
	n, err := sys.ReadRSS()
	if err != nil {
		t.Skip(err)
	}
	return n
}
