package loops

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/rcumap"
)

// table is a map from strings to bytes that rcu-map and gc-map compare. Its methods may be called
// by any goroutine; close comes last. The calls go through an interface, which adds the same
// nanosecond or two to each map.
type table interface {
	view() view
	close() error
}

// view is what one goroutine uses a table through.
type view interface {
	// get returns the first word of a key's value, and whether the key is there.
	get(key string) (word uint64, found bool)
	// put stores a copy of value, and of the key if it is new: keys come from requests, whose
	// buffers are used again.
	put(key string, value []byte) error
	remove(key string)
	close()
}

// newTable makes the map that an implementation stands for.
func newTable(name string) (table, error) {
	switch name {
	case workload.Slubd:
		t := new(offHeap)
		var err error
		t.Map, err = rcumap.New(rcumap.Config{Name: "bench-map", Domain: &t.domain})
		return t, err
	case workload.SyncMap:
		return new(syncMap), nil
	case workload.Sharded:
		t := &sharded{seed: maphash.MakeSeed()}
		for i := range t.shard {
			t.shard[i].values = map[string][]byte{}
		}
		return t, nil
	}
	return nil, fmt.Errorf("%s is not a map", name)
}

// mapKeys returns the names of n keys.
func mapKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key %010d", i)
	}
	return keys
}

func firstWord(value []byte) uint64 { return binary.LittleEndian.Uint64(value) }

// offHeap is slubd's map. Its readers are registered and report after each operation, as a loop
// that serves requests would.
type offHeap struct {
	domain rcu.Domain
	*rcumap.Map
}

func (t *offHeap) close() error { return t.Close() }
func (t *offHeap) view() view {
	return &offHeapView{Map: t.Map, reader: t.domain.Register("slubd-bench")}
}

type offHeapView struct {
	*rcumap.Map
	reader *rcu.Reader
}

func (v *offHeapView) get(key string) (word uint64, found bool) {
	v.reader.Lock()
	value, found := v.Get(key)
	if found {
		word = firstWord(value)
	}
	v.reader.Unlock()
	v.reader.Quiescent()
	return word, found
}

func (v *offHeapView) put(key string, value []byte) error {
	err := v.Put(key, value)
	v.reader.Quiescent()
	return err
}

func (v *offHeapView) remove(key string) {
	v.Delete(key)
	v.reader.Quiescent()
}

func (v *offHeapView) close() { v.reader.Close() }

// syncMap is sync.Map. Values never change, because readers hold them without a lock.
type syncMap struct{ sync.Map }

func (*syncMap) close() error { return nil }
func (t *syncMap) view() view { return syncMapView{t} }

type syncMapView struct{ *syncMap }

func (v syncMapView) get(key string) (word uint64, found bool) {
	value, found := v.Load(key)
	if !found {
		return 0, false
	}
	return firstWord(value.([]byte)), true
}

func (v syncMapView) put(key string, value []byte) error {
	v.Store(strings.Clone(key), bytes.Clone(value)) // sync.Map keeps the new key in any case
	return nil
}

func (v syncMapView) remove(key string) { v.Delete(key) }
func (syncMapView) close()              {}

// shards is the number of maps of sharded.
const shards = 64

// sharded is 64 maps, each under its own lock. A new value of the same length overwrites the old
// one, which saves the allocation; readers do not use a value after they unlock.
type sharded struct {
	seed  maphash.Seed
	shard [shards]shard
}

type shard struct {
	sync.RWMutex
	values map[string][]byte
	_      [128 - 24 - 8]byte // locks of different CPUs lie apart
}

func (*sharded) close() error { return nil }
func (t *sharded) view() view { return shardedView{t} }

type shardedView struct{ *sharded }

func (v shardedView) of(key string) *shard { return &v.shard[maphash.String(v.seed, key)%shards] }

func (v shardedView) get(key string) (word uint64, found bool) {
	s := v.of(key)
	s.RLock()
	value, found := s.values[key]
	if found {
		word = firstWord(value)
	}
	s.RUnlock()
	return word, found
}

func (v shardedView) put(key string, value []byte) error {
	s := v.of(key)
	s.Lock()
	if old, found := s.values[key]; found && len(old) == len(value) {
		copy(old, value)
	} else {
		s.values[strings.Clone(key)] = bytes.Clone(value)
	}
	s.Unlock()
	return nil
}

func (v shardedView) remove(key string) {
	s := v.of(key)
	s.Lock()
	delete(s.values, key)
	s.Unlock()
}

func (shardedView) close() {}

// mapTarget is a map for rcu-map, filled to nine tenths.
type mapTarget struct {
	noBackground
	spec  workload.Spec
	table table
	keys  []string
}

func openMap(name string, s workload.Spec) (target, error) {
	t, err := newTable(name)
	if err != nil {
		return nil, err
	}
	a := &mapTarget{spec: s, table: t, keys: mapKeys(s.Live)}
	v, value := t.view(), make([]byte, s.Size)
	defer v.close()
	for i, key := range a.keys {
		if i%(workload.RCUMapPuts+1) == 0 {
			continue
		}
		if err := v.put(key, value); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	return a, nil
}

func (a *mapTarget) close() error { return a.table.close() }

func (a *mapTarget) worker(index int, _ *shared) (worker, error) {
	s, v := a.spec, a.table.view()
	random, value := workload.NewRandom(s.Seed, index), make([]byte, s.Size)
	gets, weight, sum := uint32(s.Gets), s.Weight(), new(uint64)
	puts := (100 - gets) * workload.RCUMapPuts / (workload.RCUMapPuts + 1)
	return worker{stop: v.close, sum: sum, loop: func(n int) error {
		for i := range n {
			key := a.keys[random.Draw(uint32(len(a.keys)))]
			switch roll := random.Draw(100); {
			case roll < gets:
				word, _ := v.get(key)
				*sum = *sum*weight + word
			case roll < gets+puts:
				binary.LittleEndian.PutUint64(value, uint64(i))
				if err := v.put(key, value); err != nil {
					return err
				}
			default:
				v.remove(key)
			}
		}
		return nil
	}}, nil
}
