// Package page writes a report as one HTML file that needs nothing else: no network, no script, no
// font. It can be sent to a colleague, read on a phone, in the dark, and printed.
//
//	report.Document -> cards (spans), latencyCards, memoryChart (curves), pauses -> page.html
//
// Charts are SVG that html/template writes. Places are in percent, so a chart is as wide as its
// column and its texts keep their size; only paths are stretched. Each chart has its figures as
// text beside it and in a table below, and each series a name or a shape besides its colour. The
// colours are those of Okabe and Ito, which colour-blind people can tell apart; page.css has them.
//
// It imports package report and nothing imports it but the command.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

var (
	//go:embed page.html
	markup string
	//go:embed page.css
	css string

	page = template.Must(template.New("page").Funcs(template.FuncMap{
		"css": func() template.CSS { return template.CSS(css) },
	}).Parse(markup))
)

// view is what the template shows.
type view struct {
	report.Document
	Facts     []fact
	Compared  []compared
	Machine   []string
	Spoils    []machine.Finding
	Fine      []machine.Finding
	Notes     []string
	Cards     []card
	Latencies []latencyCard
	Memory    *curves
	Pauses    pauses
	Changes   *table // of the comparison, nil without one
}

// compared is one of the implementations that have figures here.
type compared struct{ Name, Class, About string }

// implementations returns those of the results, in the order of the charts.
func implementations(d report.Document) (list []compared) {
	names := map[string]bool{}
	for _, r := range d.Results {
		names[r.Alloc] = true
	}
	for _, name := range slices.SortedFunc(maps.Keys(names), workload.Compare) {
		list = append(list, compared{name, class(name), workload.AboutImplementation(name)})
	}
	return list
}

// fact is a figure at the top of the page.
type fact struct{ Value, Text string }

// Write writes the page.
func Write(w io.Writer, d report.Document) error {
	latencies, err := latencyCards(d)
	if err != nil {
		return err
	}
	v := view{
		Document: d, Facts: facts(d), Compared: implementations(d), Machine: d.MachineLines(), Notes: d.NoteLines(), Cards: cards(d),
		Latencies: latencies, Memory: memoryChart(d.Memory), Pauses: newPauses(d.Results),
	}
	if m := d.Env.NUMA; m != nil {
		for _, f := range m.Findings {
			if f.Spoils {
				v.Spoils = append(v.Spoils, f)
			} else {
				v.Fine = append(v.Fine, f)
			}
		}
	}
	if c := d.Comparison; c != nil && len(c.Rows) > 0 {
		v.Changes = changes(c)
	}
	return page.Execute(w, v)
}

// facts are what a reader looks for first.
func facts(d report.Document) (list []fact) {
	if s := d.Summary; s != nil {
		list = append(list, fact{"x" + figure(s.GeoMean), "slubd's time to that of the best allocator for C, geometric mean of " + plural(s.Rows, "row") + "; below 1 slubd is faster"})
	}
	list = append(list, fact{fmt.Sprint(len(d.Results)), "figures, each the median of " + fmt.Sprint(d.Env.Count) + " interleaved runs of " + d.Env.BenchTime})
	if spread, ok := d.Spread(); ok {
		list = append(list, fact{fmt.Sprintf("%.0f %%", 100*spread), "of the median lie between the fastest and the slowest run of a row, in the middle one of all rows"})
	}
	if n := len(d.Failures); n > 0 {
		list = append(list, fact{fmt.Sprint(n), "of the measurements failed"})
	}
	return list
}

// changes has the rows of a comparison.
func changes(c *report.Comparison) *table {
	t := &table{Head: []string{"", "alloc", "unit", "old", "new", "change", "p"}}
	for _, r := range c.Rows {
		change := "~"
		if r.Significant {
			change = fmt.Sprintf("%+.1f%%", 100*r.Change)
		}
		if r.Regression {
			change += " regression"
		}
		name := r.Workload + ", " + rowTitle(runner.Result{Threads: r.Threads, Size: r.Size})
		t.Rows = append(t.Rows, []string{name, r.Alloc, r.Unit, r.Old.Text(), r.New.Text(), change, fmt.Sprintf("%.3f", r.P)})
	}
	return t
}

// Command is the command line that repeats the run.
func (v view) Command() string {
	line := []string{"slubd-bench"}
	for _, name := range slices.Sorted(maps.Keys(v.Env.Flags)) {
		switch value := v.Env.Flags[name]; value {
		case "", "false":
		case "true":
			line = append(line, "-"+name)
		default:
			line = append(line, "-"+name+" "+quoted(value))
		}
	}
	return strings.Join(line, " ")
}

// quoted protects a value from the shell.
func quoted(value string) string {
	if strings.ContainsAny(value, " ^$()|*?[]\\'\"") {
		return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
	}
	return value
}
