package backlog

import "sync"

// A Pool is an automatic hard limit that several Backlogs share: those of one arena. What they may
// charge together is within the limit, however many they are.
//
// All Backlogs with the Pool in their Config belong to it while they have queues. Those whose hard
// limit is their own don't charge it, and only count in Waiting.
type Pool struct {
	limit
	mu       sync.Mutex // guards backlogs; a leaf
	backlogs []*Backlog
}

// NewPool makes a Pool. hard returns the limit in bytes. It is called for each charge, at times
// under a stack's lock, so that the limit may follow something that changes. It takes no lock and
// makes no system call.
func NewPool(hard func() int64) *Pool { return &Pool{limit: limit{hard: hard}} }

func (p *Pool) add(b *Backlog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backlogs = append(p.backlogs, b)
}

func (p *Pool) remove(b *Backlog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.backlogs {
		if other == b {
			last := len(p.backlogs) - 1
			p.backlogs[i], p.backlogs[last] = p.backlogs[last], nil
			p.backlogs = p.backlogs[:last]
			return
		}
	}
}

// Charged returns the bytes that are charged to the limit, and the limit in force. A nil Pool has
// none.
func (p *Pool) Charged() (bytes, hard int64) {
	if p == nil {
		return 0, Unlimited
	}
	return max(0, p.bytes.Load()), p.hard()
}

// Waiting returns the bytes that wait in all Backlogs of the Pool, whatever their limits. It looks
// at each of them.
func (p *Pool) Waiting() (bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backlogs {
		bytes += max(0, b.charged())
	}
	return bytes
}

// expedite starts a round of every Backlog that charges the Pool and has something that waits: the
// bytes in the way of one may be another's.
func (p *Pool) expedite() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backlogs {
		if b.limit == &p.limit && b.charged() > 0 {
			b.expedite()
		}
	}
}
