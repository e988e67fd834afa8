// Package top shows the caches of a running program in a terminal, as slabtop shows the kernel's,
// with the sheaves and barns that the kernel's own tools lack.
//
//	debugpage's data.json -> fetch -> table -> the terminal
//
// It asks a program that serves slub/debugpage and changes nothing there. What the program answers
// may be anything: it is bounded in size and time, and no control character of it reaches the
// terminal. The package has no lock and no goroutine.
package top

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// A cache is what the table needs of a row of data.json.
type cache struct {
	Name                       string
	Size, InUseBytes           int64
	SlabBytes                  int64
	InUse, Allocs, Frees       uint64
	Failures                   uint64
	Slow, Refilled             uint64
	Sheaf, Barn, Waiting       uint64
	InSlabs                    uint64
	HitRate                    float64
	Nodes                      []struct{ Slabs, Partial uint64 }
	allocRate, freeRate, slabs float64
}

// A reading is one answer.
type reading struct {
	Time    float64 `json:"time"`
	PID     int     `json:"pid"`
	Engine  string
	Caches  []cache
	Domains []struct {
		Name, OldestName, OldestPlace string
		OldestSeconds                 float64
	}
	Backlogs []struct{ Bytes int64 }
}

// orders are the values of -sort. All but name show the greatest first, and hit the least.
var orders = map[string]func(a, b cache) int{
	"size":  func(a, b cache) int { return cmp.Compare(b.SlabBytes, a.SlabBytes) },
	"inuse": func(a, b cache) int { return cmp.Compare(b.InUseBytes, a.InUseBytes) },
	"kept":  func(a, b cache) int { return cmp.Compare(b.SlabBytes-b.InUseBytes, a.SlabBytes-a.InUseBytes) },
	"rate":  func(a, b cache) int { return cmp.Compare(b.allocRate, a.allocRate) },
	"wait":  func(a, b cache) int { return cmp.Compare(b.Waiting, a.Waiting) },
	"fail":  func(a, b cache) int { return cmp.Compare(b.Failures, a.Failures) },
	"hit":   func(a, b cache) int { return cmp.Compare(a.HitRate, b.HitRate) },
	"name":  func(a, b cache) int { return 0 },
}

// ErrUsage is wrapped by errors about the arguments.
var ErrUsage = errors.New("usage: slubd-bench top [-once] [-sort ORDER] [-n ROWS] [-every TIME] URL")

// Run shows the program at a URL, such as http://127.0.0.1:9380, until ctx ends, or once with
// -once. clear makes room for the next table: for a terminal it erases the screen. After the first
// table an error of the program is shown in place of a table, and Run asks again: the program may
// be restarting. Run returns the first error if there was no table yet. With -h it prints flags.
func Run(ctx context.Context, args []string, out io.Writer, clear string) error {
	fs := flag.NewFlagSet("top", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	once := fs.Bool("once", false, "show one table and end")
	sort := fs.String("sort", "size", "`order`: size, inuse, kept, rate, wait, fail, hit or name")
	rows := fs.Int("n", 40, "`number` of rows; 0 for all")
	every := fs.Duration("every", 2*time.Second, "`time` between two tables")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(out, ErrUsage)
		fs.SetOutput(out)
		fs.PrintDefaults()
		return nil
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	order := orders[*sort]
	if fs.NArg() != 1 || order == nil || *rows < 0 || *every <= 0 {
		return fmt.Errorf("%w; ORDER is size, inuse, kept, rate, wait, fail, hit or name", ErrUsage)
	}
	address, err := dataURL(fs.Arg(0))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	var last *reading
	for {
		now, err := fetch(ctx, address)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && last == nil {
			return err
		}
		var text string
		if err != nil {
			text = printable(err.Error()) + "\n"
		} else {
			now.rates(last)
			last = now
			text = now.table(order, *rows)
		}
		if _, err := io.WriteString(out, clear+text); err != nil || *once {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(*every):
		}
	}
}

// ClearFor returns what Run writes before each table: escape sequences if f is a terminal.
func ClearFor(f *os.File) string {
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return "\x1b[H\x1b[2J"
	}
	return ""
}

// dataURL returns where the figures are, for the URL of a program or of its page.
func dataURL(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("%q is no URL: %w", text, err)
	}
	if u.Host == "" {
		return "", fmt.Errorf("the URL %q has no host", text)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/debug/slubd/"
	}
	return u.JoinPath("data.json").String(), nil
}

// maxAnswer bounds the bytes of an answer: 600 bytes a cache make 5 MB for 9,000 of them.
const maxAnswer = 64 << 20

// client gives up on a program that does not answer, so that the terminal doesn't show old figures
// as new ones.
var client = &http.Client{Timeout: 10 * time.Second}

func fetch(ctx context.Context, address string) (*reading, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s; does the program serve slub/debugpage there?", address, answer.Status)
	}
	r, err := decode(answer.Body, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return r, nil
}

// decode reads an answer of at most limit bytes.
func decode(body io.Reader, limit int64) (*reading, error) {
	bounded := &io.LimitedReader{R: body, N: limit}
	var r reading
	err := json.NewDecoder(bounded).Decode(&r)
	if err != nil && bounded.N == 0 {
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return &r, err
}

// rates computes what each cache has done per second since last, and its hit rate since then. With
// nil it leaves the rates 0, and the hit rate that of the cache's life.
func (r *reading) rates(last *reading) {
	before := map[string]cache{}
	var seconds float64
	if last != nil {
		seconds = r.Time - last.Time
		for _, c := range last.Caches {
			before[c.Name] = c
		}
	}
	for i := range r.Caches {
		c := &r.Caches[i]
		for _, n := range c.Nodes {
			c.slabs += float64(n.Slabs)
		}
		b, ok := before[c.Name]
		if !ok || seconds <= 0 || c.Allocs < b.Allocs || c.Frees < b.Frees {
			continue
		}
		allocs := float64(c.Allocs - b.Allocs)
		c.allocRate, c.freeRate = allocs/seconds, float64(c.Frees-b.Frees)/seconds
		if allocs > 0 {
			c.HitRate = max(0, 1-(float64(c.Slow)-float64(b.Slow)+float64(c.Refilled)-float64(b.Refilled))/allocs)
		}
	}
}

// table writes the summary and at most rows caches, 0 for all, in an order; equals by name.
func (r *reading) table(order func(a, b cache) int, rows int) string {
	var inUse, slabs, waiting int64
	for _, c := range r.Caches {
		inUse, slabs = inUse+c.InUseBytes, slabs+c.SlabBytes
	}
	for _, b := range r.Backlogs {
		waiting += b.Bytes
	}
	var out strings.Builder
	fmt.Fprintf(&out, "process %d, engine %s: %d caches, %s in use of %s in slabs; %s wait for grace periods\n",
		r.PID, printable(r.Engine), len(r.Caches), bytes(inUse), bytes(slabs), bytes(waiting))
	for _, d := range r.Domains {
		if d.OldestSeconds > 0 {
			which := "sections of Enter" // these have no name, and a place in some builds only
			if d.OldestName != "" {
				which = fmt.Sprintf("reader %q", d.OldestName)
			}
			if d.OldestPlace != "" {
				which += " (" + printable(d.OldestPlace) + ")"
			}
			fmt.Fprintf(&out, "domain %q: in the way for %.1f s: %s\n", d.Name, d.OldestSeconds, which)
		}
	}
	sorted := slices.SortedStableFunc(slices.Values(r.Caches), func(a, b cache) int {
		return cmp.Or(order(a, b), cmp.Compare(a.Name, b.Name))
	})
	if rows > 0 && len(sorted) > rows {
		sorted = sorted[:rows]
	}
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "OBJS\tUSE\tOBJ SIZE\tSLABS\tIN USE\tCACHE SIZE\tSHEAF\tBARN\tWAIT\tIN SLABS\tALLOC/S\tFREE/S\tHIT\tFAIL\t  NAME")
	for _, c := range sorted {
		fmt.Fprintf(w, "%d\t%s\t%d\t%.0f\t%s\t%s\t%d\t%d\t%d\t%d\t%.0f\t%.0f\t%s\t%d\t  %s\n", c.InUse, share(c.InUseBytes, c.SlabBytes), c.Size, c.slabs,
			bytes(c.InUseBytes), bytes(c.SlabBytes), c.Sheaf, c.Barn, c.Waiting, c.InSlabs, c.allocRate, c.freeRate, percent(c.HitRate), c.Failures, printable(c.Name))
	}
	w.Flush()
	return out.String()
}

// printable replaces what is no printable character, such as the escape that commands to a terminal
// begin with, and a tab, which would shift the columns.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}

func share(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return percent(float64(part) / float64(whole))
}

// percent writes a share, or a dash if it is below 0: there is none.
func percent(share float64) string {
	if share < 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*share)
}

func bytes(n int64) string {
	const units = "KMGTP"
	v, unit := float64(n), -1
	for v >= 1024 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	if unit < 0 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.1f%cB", v, units[unit])
}
