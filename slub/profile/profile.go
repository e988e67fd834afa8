// Package profile writes the allocation profile of package slub for go tool pprof, Pyroscope and
// whatever else reads pprof's format.
//
//	profile.Write(f)                        // go tool pprof -top f
//	mux.Handle("/debug/pprof/slubd", profile.Handler())
//
// # Place in the data flow
//
//	slub.ReadProfile -> [Write] -> a file, or an HTTP response
//
// It is a package of its own so that slub links no pprof. docs/debugging.md says how to read the
// profile.
package profile

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/google/pprof/profile"

	"github.com/slubd/slubd/internal/frames"
	"github.com/slubd/slubd/slub"
)

// Write writes the profile of the process, gzipped. Its sample types are Go's: alloc_objects,
// alloc_space, inuse_objects and inuse_space, the last one by default. Labels are cache, bytes (the
// size class), node, and, if they have one, group and tag. Functions of package slub above the call
// site are left out. Any goroutine. It costs some microseconds for each call site. The error is
// w's.
func Write(w io.Writer) error { return build(slub.ReadProfile(), slub.ProfileRate()).Write(w) }

// Handler serves Write. It is what metrics.DebugHandler has at /debug/pprof/slubd.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", `attachment; filename="slubd"`)
		h.Set("X-Content-Type-Options", "nosniff")
		_ = Write(w) // the client has gone
	})
}

// builder makes a profile's tables of functions and locations.
type builder struct {
	p         *profile.Profile
	functions map[string]*profile.Function
	locations map[location]*profile.Location
}

type location struct {
	pc       uintptr
	function string
	line     int
}

func build(records []slub.ProfileRecord, rate int64) *profile.Profile {
	b := builder{p: &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "alloc_objects", Unit: "count"}, {Type: "alloc_space", Unit: "bytes"},
			{Type: "inuse_objects", Unit: "count"}, {Type: "inuse_space", Unit: "bytes"}},
		DefaultSampleType: "inuse_space",
		PeriodType:        &profile.ValueType{Type: "space", Unit: "bytes"},
		Period:            rate,
		TimeNanos:         time.Now().UnixNano(),
		Mapping:           mappings(),
	}, functions: map[string]*profile.Function{}, locations: map[location]*profile.Location{}}
	for _, r := range records {
		s := &profile.Sample{Value: []int64{r.AllocObjects, r.AllocBytes, r.InUseObjects, r.InUseBytes}, Location: b.stack(r.Stack),
			Label:    map[string][]string{"cache": {r.Cache}, "node": {strconv.Itoa(int(r.Node))}},
			NumLabel: map[string][]int64{"bytes": {r.Size}},
			NumUnit:  map[string][]string{"bytes": {"bytes"}}}
		for key, value := range map[string]string{"group": r.Group, "tag": r.Tag} {
			if value != "" {
				s.Label[key] = []string{value}
			}
		}
		b.p.Sample = append(b.p.Sample, s)
	}
	return b.p
}

// mappings returns the mappings of the process's code, as Go's own profiles have them, with their
// addresses and build IDs. It reads them from the shortest of those: the profile of the calls that
// have started threads. Where that has none it returns one without addresses: pprof's tools want at
// least one.
func mappings() []*profile.Mapping {
	var threads bytes.Buffer
	if err := pprof.Lookup("threadcreate").WriteTo(&threads, 0); err == nil {
		if p, err := profile.Parse(&threads); err == nil && len(p.Mapping) > 0 {
			for _, m := range p.Mapping {
				m.HasFunctions, m.HasFilenames, m.HasLineNumbers, m.HasInlineFrames = true, true, true, true
			}
			return p.Mapping
		}
	}
	path, err := os.Executable()
	if err != nil {
		path = "" // the tools do without
	}
	return []*profile.Mapping{{ID: 1, File: path, HasFunctions: true, HasFilenames: true, HasLineNumbers: true, HasInlineFrames: true}}
}

// mappingOf returns the mapping of an address, and the first one for an address outside of all.
func (b *builder) mappingOf(pc uint64) *profile.Mapping {
	for _, m := range b.p.Mapping {
		if m.Start <= pc && pc < m.Limit {
			return m
		}
	}
	return b.p.Mapping[0]
}

// stack returns the locations of a stack, the call site first: what it has of package slub above
// that is left out, unless there is nothing else.
func (b *builder) stack(pcs []uintptr) (stack []*profile.Location) {
	if len(pcs) == 0 {
		return []*profile.Location{b.location(runtime.Frame{Function: "(more call sites than the profile has room for)"})}
	}
	rest := runtime.CallersFrames(pcs)
	var inside runtime.Frame // the latest one of package slub
	for more := true; more; {
		var f runtime.Frame
		f, more = rest.Next()
		switch {
		case len(stack) == 0 && frames.Own(f.Function):
			inside = f
		case f.Function != "runtime.goexit" && f.Function != "":
			stack = append(stack, b.location(f))
		}
	}
	if len(stack) == 0 {
		return []*profile.Location{b.location(inside)}
	}
	return stack
}

// location returns the one location of a frame. Each inlined call has a location of its own, as in
// the profiles of Go's runtime that are written without symbols.
func (b *builder) location(f runtime.Frame) *profile.Location {
	at := location{f.PC, f.Function, f.Line}
	if l := b.locations[at]; l != nil {
		return l
	}
	name := cmp.Or(f.Function, "unknown")
	fn := b.functions[name]
	if fn == nil {
		fn = &profile.Function{ID: uint64(len(b.functions)) + 1, Name: name, SystemName: name, Filename: f.File}
		b.functions[name] = fn
		b.p.Function = append(b.p.Function, fn)
	}
	l := &profile.Location{ID: uint64(len(b.locations)) + 1, Mapping: b.mappingOf(uint64(f.PC)), Address: uint64(f.PC),
		Line: []profile.Line{{Function: fn, Line: int64(f.Line)}}}
	b.locations[at] = l
	b.p.Location = append(b.p.Location, l)
	return l
}
