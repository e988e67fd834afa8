package sheaves

import "github.com/slubd/slubd/internal/percpu"

// shards is how many lists a shardedList has. CPUs whose numbers differ by a multiple of it share
// one.
const shards = 8

// A shardedList is a LIFO for each of some CPUs. A CPU that takes a sheaf gets one that it has put
// in itself, if there is one: the sheaf's array and its objects are likely to be in that CPU's
// cache. It gets another CPU's rather than none, so that the lists have one limit together. A
// barn's mutex guards all of it.
type shardedList struct {
	of    [shards]list
	least [shards]int // least length of each list since takeIdle
	n     int         // sheaves in all lists
}

// shard is the index of the calling CPU's list. Only the speed depends on it: a goroutine that
// migrates takes what another CPU has put in.
func shard() int { return percpu.CPU() % shards }

func (l *shardedList) push(s *sheaf) {
	l.of[shard()].push(s)
	l.n++
}

func (l *shardedList) pop() *sheaf {
	if l.n == 0 {
		return nil
	}
	i := shard()
	for l.of[i].head == nil {
		i = (i + 1) % shards
	}
	return l.popFrom(i)
}

// popFrom takes a sheaf from one of the lists, which has some.
func (l *shardedList) popFrom(i int) *sheaf {
	l.n--
	s := l.of[i].pop()
	l.least[i] = min(l.least[i], l.of[i].n)
	return s
}

// popLongest takes a sheaf from the CPU that has the most; there is one.
func (l *shardedList) popLongest() *sheaf {
	longest := 0
	for i := range l.of {
		if l.of[i].n > l.of[longest].n {
			longest = i
		}
	}
	return l.popFrom(longest)
}

// takeAll detaches all sheaves.
func (l *shardedList) takeAll() (all list) {
	for i := range l.of {
		all.append(l.of[i])
	}
	*l = shardedList{}
	return all
}

// takeIdle detaches the sheaves that no CPU has missed since the last call: of each as many
// as were there at all times, the coldest of those that are there now.
func (l *shardedList) takeIdle() (idle list) {
	for i := range l.of {
		of := &l.of[i]
		kept := of.n - l.least[i]
		idle.append(of.cut(kept))
		l.n -= l.least[i]
		l.least[i] = kept
	}
	return idle
}

// all calls f for each sheaf.
func (l *shardedList) all(f func(*sheaf)) {
	for _, of := range l.of {
		for s := of.head; s != nil; s = s.next {
			f(s)
		}
	}
}
