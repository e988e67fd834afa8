package rcu

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// model is a naive model of a domain: it lists, for every token, the readers that were online at
// its Start and have not reported since.
type model struct {
	readers []*Reader
	online  map[*Reader]bool
	tokens  []Token
	waits   []map[*Reader]bool // parallel to tokens
}

// reported notes that r has reported.
func (m *model) reported(r *Reader) {
	for _, w := range m.waits {
		delete(w, r)
	}
}

// replay carries out ops, one per byte, on a domain and on the model, and compares every answer.
// The low three bits choose the operation, the others its object. There is one goroutine, so every
// answer is determined.
func replay(t *testing.T, ops []byte) {
	var d Domain
	m := model{online: map[*Reader]bool{}}
	poll := func(i int) {
		if got, want := d.Poll(m.tokens[i]), len(m.waits[i]) == 0; got != want {
			t.Fatalf("Poll(%#x) = %v; readers still to report: %d", m.tokens[i], got, len(m.waits[i]))
		}
	}
	for _, op := range ops[:min(len(ops), 1000)] { // the model's cost grows with the square
		arg := int(op >> 3)
		var r *Reader
		if len(m.readers) > 0 {
			r = m.readers[arg%len(m.readers)]
		}
		switch op &= 7; {
		case op == 0:
			waits := map[*Reader]bool{}
			for r := range m.online {
				waits[r] = true
			}
			m.tokens, m.waits = append(m.tokens, d.Start()), append(m.waits, waits)
		case op == 1 && len(m.readers) < 8:
			r = d.Register("replay")
			m.readers, m.online[r] = append(m.readers, r), true
		case op == 2 && len(m.tokens) > 0:
			poll(len(m.tokens) - 1 - arg%len(m.tokens))
		case op == 3:
			got := d.Stats()
			if got.Readers != len(m.readers) || got.Online != len(m.online) {
				t.Fatalf("%+v, want %d readers, %d online", got, len(m.readers), len(m.online))
			}
		case r == nil:
		case op == 4:
			r.Quiescent()
			m.reported(r)
		case op == 5:
			r.Offline()
			m.reported(r)
			delete(m.online, r)
		case op == 6:
			r.Online()
			m.online[r] = true
		case op == 7:
			r.Close()
			m.reported(r)
			delete(m.online, r)
			m.readers = slices.DeleteFunc(m.readers, func(o *Reader) bool { return o == r })
		}
	}
	for i := range m.tokens {
		poll(i)
	}
}

func TestReplay(t *testing.T) {
	rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	for range testutil.Stress(t, 200_000) / 200 {
		ops := make([]byte, 200)
		for i := range ops {
			ops[i] = byte(rng.Uint32())
		}
		replay(t, ops)
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte{1, 0, 2, 4, 2}) // register, start, poll, report, poll
	f.Add([]byte{1, 9, 0, 4, 0, 12, 2, 10, 7, 15, 10})
	f.Fuzz(replay)
}
