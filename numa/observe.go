package numa

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// A Sample is a range of addresses, and which of its pages to ask about.
type Sample struct {
	Addr, Bytes uintptr
	// Pages are addresses in the range, one for each page. nil asks about at most 64 pages that
	// are spread evenly.
	Pages []uintptr
}

// Observed has the number of pages that were seen on each node. Pages that were never touched are
// on none.
type Observed map[Node]int

// Pages returns the number of pages on all nodes.
func (o Observed) Pages() (n int) {
	for _, pages := range o {
		n += pages
	}
	return n
}

// Sources of an observation.
const (
	SourceMovePages = "move_pages" // the kernel was asked about the pages of the samples
	SourceNumaMaps  = "numa_maps"  // it counted all pages of the mappings that begin in them
)

// evenly is the number of pages that Observe asks about where a sample names none.
const evenly = 64

// Observe asks the kernel on which nodes pages lie, and returns an Observed for each sample. It
// moves nothing and touches nothing.
//
// It asks by move_pages(2), which takes a fraction of a microsecond for a page. Where the kernel
// refuses that, as Docker's seccomp profile does, it reads /proc/self/numa_maps. This file counts
// all pages of each mapping, so that the answer is about mappings that begin in a sample's range,
// whichever pages were named; the kernel walks all of the process' page tables for it, which takes
// milliseconds per GiB. source tells which one it was. Any goroutine.
//
// Errors: ErrRefused with the errno, if neither is to be had.
func Observe(samples []Sample) (seen []Observed, source string, err error) {
	seen, err = observePages(samples)
	if err == nil {
		return seen, SourceMovePages, nil
	}
	text, failed := sys.ReadNumaMaps()
	if failed != nil {
		return nil, "", errors.Join(err, refused("page query", failed))
	}
	return observeMaps(samples, text), SourceNumaMaps, nil
}

// observePages is Observe by move_pages.
func observePages(samples []Sample) ([]Observed, error) {
	var addrs []uintptr
	ends := make([]int, len(samples)) // by sample: where its addresses end
	for i, s := range samples {
		if s.Pages != nil {
			addrs = append(addrs, s.Pages...)
		} else {
			pages := s.Bytes / mem.PageSize
			for k := range min(evenly, pages) {
				addrs = append(addrs, s.Addr+k*pages/min(evenly, pages)*mem.PageSize)
			}
		}
		ends[i] = len(addrs)
	}
	nodes, err := Where(addrs)
	if err != nil {
		return nil, err
	}
	seen := make([]Observed, len(samples))
	from := 0
	for i, to := range ends {
		seen[i] = Observed{}
		for _, n := range nodes[from:to] {
			if n != NoNode {
				seen[i][n]++
			}
		}
		from = to
	}
	return seen, nil
}

// observeMaps is Observe with the text of numa_maps. Each line has the start of a mapping, its
// policy, and words such as N0=12: pages of kernelpagesize_kB on node 0.
func observeMaps(samples []Sample, text []byte) []Observed {
	seen := make([]Observed, len(samples))
	for i := range seen {
		seen[i] = Observed{}
	}
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) == 0 {
			continue
		}
		start, err := strconv.ParseUint(string(words[0]), 16, 64)
		if err != nil {
			continue
		}
		for i, s := range samples {
			if uintptr(start)-s.Addr < s.Bytes {
				seen[i].addLine(words[1:])
			}
		}
	}
	return seen
}

// addLine adds what the words of a line of numa_maps say.
func (o Observed) addLine(words [][]byte) {
	pages := map[Node]int{}
	unit := 1 // small pages
	for _, word := range words {
		key, value, _ := bytes.Cut(word, []byte("="))
		n, err := strconv.Atoi(string(value))
		if err != nil {
			continue
		}
		if string(key) == "kernelpagesize_kB" {
			unit = max(1, n<<10/mem.PageSize)
		} else if id, ok := bytes.CutPrefix(key, []byte("N")); ok {
			if node, err := cpulist.ParseID(string(id)); err == nil {
				pages[Node(node)] += n
			}
		}
	}
	for node, n := range pages {
		o[node] += n * unit
	}
}

// Move asks the kernel to move pages of the process' own memory to a node, and returns how many of
// them are there afterwards. Their contents stay, and a thread that touches one meanwhile waits
// some microseconds. A page that was never touched, or that the kernel can't move just now, is left
// where it is, as are all that the node has no room for. It takes some microseconds for each page
// that is moved. Any goroutine. (Kernel: move_pages with MPOL_MF_MOVE.)
//
// Errors: ErrInvalid for an impossible node; ErrRefused with the errno.
func Move(addrs []uintptr, node Node) (there int, err error) {
	if node < 0 || node > maxNode {
		return 0, ErrInvalid
	}
	status := make([]int32, len(addrs))
	if err := sys.MovePages(addrs, int(node), status); err != nil {
		return 0, refused("move", err)
	}
	for _, s := range status {
		if s == int32(node) {
			there++
		}
	}
	return there, nil
}

// Allowed returns the nodes that the cpuset of the process (cpuset.mems) allows it memory of,
// ascending, at the time of the call. It reads a file. Any goroutine.
//
// Errors: ErrRefused with the errno; ErrMalformed.
func Allowed() ([]Node, error) {
	list, err := sys.MemsAllowed()
	if err != nil {
		return nil, refused("cpuset query", err)
	}
	ids, err := cpulist.Parse(list)
	if err != nil {
		return nil, errors.Join(ErrMalformed, err)
	}
	nodes := make([]Node, len(ids))
	for i, id := range ids {
		nodes[i] = Node(id)
	}
	return nodes, nil
}
