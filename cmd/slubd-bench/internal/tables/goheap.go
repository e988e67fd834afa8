package tables

import (
	"bytes"
	"hash/maphash"
	"strings"
	"sync"
)

// syncMap is sync.Map. Values never change, since readers hold them without a lock.
type syncMap struct{ sync.Map }

func (t *syncMap) View() View { return syncMapView{t} }

func (t *syncMap) Len() (n int) {
	t.Range(func(any, any) bool { n++; return true })
	return n
}

func (*syncMap) Close() error { return nil }

type syncMapView struct{ *syncMap }

func (v syncMapView) Get(key string) (word uint64, found bool) {
	value, found := v.Load(key)
	if !found {
		return 0, false
	}
	return first(value.([]byte)), true
}

func (v syncMapView) Put(key string, value []byte) error {
	v.Store(strings.Clone(key), bytes.Clone(value)) // it keeps the new key in any case
	return nil
}

func (v syncMapView) Delete(key string) { v.syncMap.Delete(key) }
func (syncMapView) Close()              {}

// shards is how many locks the sharded map has.
const shards = 64

// sharded is 64 maps, each under a lock of its own. A value of the same length is written
// over the old one, which saves the allocation: readers are done with it when they have
// given back the lock.
type sharded struct {
	seed  maphash.Seed
	shard [shards]struct {
		sync.RWMutex
		values map[string][]byte
		_      [128 - 24 - 8]byte // locks of different CPUs lie apart
	}
}

func newSharded() Table {
	t := &sharded{seed: maphash.MakeSeed()}
	for i := range t.shard {
		t.shard[i].values = map[string][]byte{}
	}
	return t
}

func (t *sharded) View() View { return shardedView{t} }

func (t *sharded) Len() (n int) {
	for i := range t.shard {
		s := &t.shard[i]
		s.RLock()
		n += len(s.values)
		s.RUnlock()
	}
	return n
}

func (*sharded) Close() error { return nil }

type shardedView struct{ *sharded }

func (v shardedView) Get(key string) (word uint64, found bool) {
	s := &v.shard[maphash.String(v.seed, key)%shards]
	s.RLock()
	value, found := s.values[key]
	if found {
		word = first(value)
	}
	s.RUnlock()
	return word, found
}

func (v shardedView) Put(key string, value []byte) error {
	s := &v.shard[maphash.String(v.seed, key)%shards]
	s.Lock()
	if old, found := s.values[key]; found && len(old) == len(value) {
		copy(old, value)
	} else {
		s.values[strings.Clone(key)] = bytes.Clone(value)
	}
	s.Unlock()
	return nil
}

func (v shardedView) Delete(key string) {
	s := &v.shard[maphash.String(v.seed, key)%shards]
	s.Lock()
	delete(s.values, key)
	s.Unlock()
}

func (shardedView) Close() {}
