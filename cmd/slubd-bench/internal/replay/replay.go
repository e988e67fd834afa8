// Package replay makes a recorded trace (hooks/trace) ready for the loops of ../loops and
// ../native: a cycle of events, which begins and ends without objects, so that a loop can follow it
// as often as it likes.
//
//	file -> trace.Read -> Load -> Replay -> loops: Go, native: C
//
// Both languages use the same array. A loop stores an event's index as the first word of the object
// that it allocates, and adds up the words of those that it frees, so a cycle has a checksum that
// is known before anything runs: Checksum.
//
// A Replay is constant, and any goroutine may use it.
package replay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/slubd/slubd/hooks/trace"
)

// Event is trace.Event as both languages read it: bench_event in C has the same fields.
type Event = trace.Event

// leastSize is the size in bytes of the smallest object that is replayed: it has one word.
const leastSize = 8

// Replay is a cycle of events.
type Replay struct {
	Events  []Event // an allocation and a free of each object
	Objects int     // numbers are less than this
	Sizes   []uint32
	// Classes has the index into Sizes of each event's object.
	Classes []uint32
	Peak    int64 // most bytes in use at a time
	// Note says what is remarkable about the trace, nothing if it is complete.
	Note string
}

// ErrEmpty reports a trace without objects.
var ErrEmpty = errors.New("the trace has no objects")

// Pairs is the number of objects of a cycle.
func (r *Replay) Pairs() int { return len(r.Events) / 2 }

// Checksum is that of one cycle, for a factor as workload.Spec.Weight.
func (r *Replay) Checksum(weight uint64) (sum uint64) {
	word := make([]uint64, r.Objects)
	for i, e := range r.Events {
		if e.Size == 0 {
			sum = sum*weight + word[e.Number]
		} else {
			word[e.Number] = uint64(i)
		}
	}
	return sum
}

// New makes a cycle of a trace: what is in use at its end is freed there.
func New(t *trace.Trace) (*Replay, error) {
	r := &Replay{Events: slices.Clip(t.Events), Objects: t.Objects, Peak: t.Peak}
	if len(r.Events) == 0 {
		return nil, ErrEmpty
	}
	inUse := make([]bool, t.Objects)
	for i, e := range r.Events {
		inUse[e.Number] = e.Size != 0
		if e.Size != 0 {
			r.Events[i].Size = max(leastSize, e.Size)
		}
	}
	for number, is := range inUse {
		if is {
			r.Events = append(r.Events, Event{Number: uint32(number)})
		}
	}
	r.classify()
	return r, nil
}

// classify lists the distinct sizes.
func (r *Replay) classify() {
	index := map[uint32]uint32{}
	class := make([]uint32, r.Objects) // of the object with a number
	r.Classes = make([]uint32, len(r.Events))
	for i, e := range r.Events {
		if e.Size != 0 {
			c, known := index[e.Size]
			if !known {
				c = uint32(len(r.Sizes))
				index[e.Size], r.Sizes = c, append(r.Sizes, e.Size)
			}
			class[e.Number] = c
		}
		r.Classes[i] = class[e.Number]
	}
}

// loaded are the traces that this process has read, by file.
var loaded = struct {
	sync.Mutex
	files map[string]*Replay
}{files: map[string]*Replay{}}

// Load reads a file, once in a process. Of a trace that was cut it takes what is there, and says so
// in Note. The error wraps one of hooks/trace or of the file system, or ErrEmpty.
func Load(file string) (*Replay, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if r := loaded.files[file]; r != nil {
		return r, nil
	}
	r, err := load(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	loaded.files[file] = r
	return r, nil
}

func load(file string) (*Replay, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := trace.Read(f, trace.Limits{})
	if err != nil && !errors.Is(err, trace.ErrTruncated) || t == nil {
		return nil, err
	}
	r, wrong := New(t)
	if wrong != nil {
		return nil, errors.Join(wrong, err)
	}
	what := fmt.Sprintf("%s: a cycle of %d objects, at most %d of them with %d bytes at a time", filepath.Base(file), r.Pairs(), r.Objects, r.Peak)
	switch {
	case err != nil:
		r.Note = what + "; it was cut, or its program ended without Close"
	case t.Ended != nil:
		r.Note = what + "; the recording has ended early: " + t.Ended.Error()
	default:
		r.Note = what
	}
	return r, nil
}
