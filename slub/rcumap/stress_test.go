package rcumap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// A value holds its key, its version, a filling, and a checksum of all three, so that a value that
// is torn, freed or of another key can be recognised.

const (
	stampSize  = 20 // key, version, checksum
	maxFilling = 400
)

// stamp makes version v of a key's value in buf.
func stamp(buf []byte, key, v uint64) []byte {
	buf = buf[:stampSize+int((key*31+v*7)%maxFilling)]
	binary.LittleEndian.PutUint64(buf, key)
	binary.LittleEndian.PutUint64(buf[8:], v)
	for i := stampSize; i < len(buf); i++ {
		buf[i] = byte(v)
	}
	binary.LittleEndian.PutUint32(buf[16:], checksum(buf))
	return buf
}

func checksum(value []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(value[:16]), crc32.IEEETable, value[stampSize:])
}

// version checks a value and returns which version of key's it is.
func version(value []byte, key uint64) (uint64, error) {
	if len(value) < stampSize {
		return 0, fmt.Errorf("key %d has %d bytes", key, len(value))
	}
	owner, v := binary.LittleEndian.Uint64(value), binary.LittleEndian.Uint64(value[8:])
	switch {
	case owner != key:
		return 0, fmt.Errorf("key %d has a value of %d's", key, owner)
	case binary.LittleEndian.Uint32(value[16:]) != checksum(value):
		return 0, fmt.Errorf("key %d has a torn value", key)
	}
	return v, nil
}

// TestStress has writers replace and delete values while readers check every value they find, and
// that no key goes back to an older version than they have seen. Each writer has its own keys and
// keeps a model of them, with which the map is compared at the end.
func TestStress(t *testing.T) {
	const writers, readers, keysEach = 2, 3, 3000
	ops, seed := testutil.Stress(t, 60_000), testutil.Seed(t)
	// More threads than CPUs, so that the kernel interrupts them at any instruction.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	m := newMap(t)
	names := make([]string, writers*keysEach)
	for key := range names {
		names[key] = fmt.Sprint("key ", key)
	}
	models := make([]map[uint64]uint64, writers)
	var done atomic.Bool
	var reading, writing sync.WaitGroup
	for i := range readers {
		reading.Go(func() { read(t, m, names, rand.New(rand.NewPCG(seed, uint64(100+i))), i < readers-1, &done) })
	}
	for w := range writers {
		model := map[uint64]uint64{}
		models[w] = model
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		writing.Go(func() {
			var buf [stampSize + maxFilling]byte
			for v := range uint64(ops) {
				// The range of keys grows, and the table with it.
				key := uint64(w*keysEach) + random.Uint64N(1+keysEach*(v+1)/uint64(ops))%keysEach
				if random.IntN(8) == 0 {
					if _, there := model[key]; m.Delete(names[key]) != there {
						t.Errorf("Delete(%q) is %v", names[key], !there)
					}
					delete(model, key)
					continue
				}
				if err := m.Put(names[key], stamp(buf[:], key, v+1)); err != nil {
					t.Error(err)
					return
				}
				model[key] = v + 1
			}
		})
	}
	writing.Wait()
	done.Store(true)
	reading.Wait()
	compare(t, m, names, models)
	checkList(t, m)
	closeMap(t, m)
}

// read looks keys up until done: with Get and Range as a registered reader, or with Append.
func read(t *testing.T, m *Map, names []string, random *rand.Rand, registered bool, done *atomic.Bool) {
	r := m.Domain().Register("stress")
	defer r.Close()
	if !registered {
		r.Offline()
	}
	var buf [stampSize + maxFilling]byte
	newest := make([]uint64, len(names))
	saw := func(key uint64, value []byte) {
		v, err := version(value, key)
		if err == nil && v < newest[key] {
			err = fmt.Errorf("key %d goes back from version %d to %d", key, newest[key], v)
		}
		if err != nil {
			t.Error(err)
			done.Store(true)
		}
		newest[key] = max(newest[key], v)
	}
	for round := 0; !done.Load(); round++ {
		for range 1 + random.IntN(100) {
			key := random.Uint64N(uint64(len(names)))
			if !registered {
				if copied, found := m.Append(buf[:0], names[key]); found {
					saw(key, copied)
				}
				continue
			}
			r.Lock()
			if value, found := m.Get(names[key]); found {
				if random.IntN(16) == 0 {
					runtime.Gosched() // hold the value for longer
				}
				saw(key, value)
			}
			r.Unlock()
		}
		r.Quiescent()
		if registered && round%64 == 0 {
			for name, value := range m.Range(r) {
				var key uint64
				if _, err := fmt.Sscanf(string(name), "key %d", &key); err != nil {
					t.Errorf("Range shows the key %q", name)
					return
				}
				saw(key, value)
			}
		}
	}
}

// compare reports where the map differs from the writers' models.
func compare(t *testing.T, m *Map, names []string, models []map[uint64]uint64) {
	t.Helper()
	got, want := contents(m), 0
	for _, model := range models {
		want += len(model)
		for key, v := range model {
			value, found := got[names[key]]
			if !found {
				t.Fatalf("key %d is lost", key)
			}
			if got, err := version([]byte(value), key); err != nil || got != v {
				t.Fatalf("key %d has version %d, not %d: %v", key, got, v, err)
			}
		}
	}
	if len(got) != want {
		t.Errorf("%d entries, not %d", len(got), want)
	}
}

// TestAppendHoldsASection replaces one long value as fast as it can while only Append reads it.
// Memory that was reused during the copy would show two versions.
func TestAppendHoldsASection(t *testing.T) {
	const size = 16 << 10
	ops := testutil.Stress(t, 10_000)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	m := newMap(t)
	put := func(v int) {
		if err := m.Put("key", bytes.Repeat([]byte{byte(v)}, size)); err != nil {
			t.Error(err)
		}
	}
	put(0)
	var done atomic.Bool
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			var copied []byte
			for !done.Load() {
				var found bool
				copied, found = m.Append(copied[:0], "key")
				if !found || len(copied) != size || bytes.Count(copied, copied[:1]) != size {
					t.Errorf("found %v, %d bytes of %v", found, len(copied), copied[:min(1, len(copied))])
					return
				}
			}
		})
	}
	for v := range ops {
		put(v)
	}
	done.Store(true)
	reading.Wait()
	if _, found := m.Append(nil, "none"); found {
		t.Error("a key that was never put is found")
	}
	closeMap(t, m)
}
