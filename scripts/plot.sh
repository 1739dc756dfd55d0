#!/usr/bin/env bash
# Plots the loss of one run or several, over tokens and over steps: the training loss of each step
# (faint) and smoothed (a running mean over 2 % of the run), and the validation loss as points.
#
# Usage: scripts/plot.sh RUN ... [-o FILE] ...
#
#   RUN        a run's folder or its log.csv; the curve is labelled with the folder's name
#   -o FILE    what to write, .png or .svg; may be given twice (loss.png in the current folder)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

logs=()
outputs=()
while (($#)); do
    case "$1" in
        -h | --help) print_help "$0" && exit ;;
        -o | --output)
            (($# > 1)) || fail "$usage_error" "$1 wants a file" "see $0 --help"
            [[ "$2" == *.png || "$2" == *.svg ]] || fail "$usage_error" "'$2' is neither .png nor .svg" "name the plot accordingly"
            outputs+=("$2")
            shift 2
            ;;
        -*) fail "$usage_error" "unknown option '$1'" "see $0 --help" ;;
        *)
            if [[ -d "$1" ]]; then logs+=("${1%/}/log.csv"); else logs+=("$1"); fi
            shift
            ;;
    esac
done
((${#logs[@]})) || fail "$usage_error" "nothing to plot" "name a run's folder or its log.csv"
for log in "${logs[@]}"; do
    [[ -r "$log" ]] || fail "$input_output_error" "cannot read $log" "a run's log is the file log.csv in its folder"
done
((${#outputs[@]})) || outputs=(loss.png)
"$repository/scripts/install_dependencies.sh" plot

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# The name of a run: its folder's, with the folder above where two would be called the same.
label() { # LOG
    local folder name other
    folder="$(realpath "$(dirname "$1")")"
    name="$(basename "$folder")"
    for other in "${logs[@]}"; do
        other="$(realpath "$(dirname "$other")")"
        if [[ "$other" != "$folder" && "$(basename "$other")" == "$name" ]]; then
            name="$(basename "$(dirname "$folder")")/$name"
            break
        fi
    done
    printf '%s' "$name"
}

# Reads a log, columns by name, and writes to files: PREFIX.train (step, tokens, loss, smoothed loss),
# PREFIX.validation (step, tokens, loss), PREFIX.range (rows, largest step, largest tokens, lowest and
# highest loss to show, last validation loss). A loss that is not a number leaves a gap.
# shellcheck disable=SC2016  # awk's own variables
readonly prepare='
function fault(text) { print text > "/dev/stderr"; failed = 1; exit 65 }
function is_number(text) { return text ~ /^ *[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)? *$/ }
function show(value) { if (low == "" || value < low) low = value; if (high == "" || value > high) high = value }
{ sub(/\r$/, "") }
FNR == 1 {
    for (i = 1; i <= NF; i++) column[$i] = i
    n = split("step tokens train_loss validation_loss", needed, " ")
    for (i = 1; i <= n; i++)
        if (!(needed[i] in column)) fault("error: " FILENAME ": there is no column " needed[i] " in line 1\nhint: is it the log.csv of a run?")
    next
}
$0 == "" { next }
!is_number($column["step"]) || !is_number($column["tokens"]) { fault("error: " FILENAME ":" FNR ": step or tokens is not a number") }
{
    rows++
    step[rows] = $column["step"]; tokens[rows] = $column["tokens"]
    loss = $column["train_loss"]
    train[rows] = is_number(loss) ? loss : "NaN"
    sum[rows] = sum[rows - 1] + (is_number(loss) ? loss : 0)
    count[rows] = count[rows - 1] + is_number(loss)
    if (is_number($column["validation_loss"])) {
        last = $column["validation_loss"]
        show(last)
        print step[rows], tokens[rows], last > (prefix ".validation")
    }
}
END {
    if (failed) exit 65
    half = int((rows + 99) / 100)
    stride = int((rows + 3999) / 4000)
    for (i = 1; i <= rows; i++) {
        # The window is symmetric at the beginning, where the loss falls steeply.
        reach = i - 1 < half ? i - 1 : half
        end = i + reach < rows ? i + reach : rows
        start = i - reach - 1
        smoothed = train[i] == "NaN" ? "NaN" : (sum[end] - sum[start]) / (count[end] - count[start])
        if (smoothed != "NaN") show(smoothed)
        if (train[i] != "NaN" && train[i] < low) low = train[i]
        if (i % stride == 0 || i == 1 || i == rows || smoothed == "NaN") print step[i], tokens[i], train[i], smoothed > (prefix ".train")
    }
    print rows + 0, step[rows] + 0, tokens[rows] + 0, low, high, last > (prefix ".range")
}'

colors=('#4E79A7' '#E15759' '#59A14F' '#F28E2B' '#B07AA1' '#76B7B2' '#9C755F' '#EDC948' '#FF9DA7' '#79706E')
curves=()
for ((i = 0; i < ${#logs[@]}; i++)); do
    prefix="$work/$i"
    awk -F , -v prefix="$prefix" "$prepare" "${logs[i]}" || exit
    read -r rows _ _ low _ last < "$prefix.range"
    if ((rows == 0)) || [[ -z "$low" ]]; then
        echo "note: ${logs[i]} has no loss to show yet" >&2
        rm "$prefix".*
        continue
    fi
    color="${colors[i % ${#colors[@]}]}"
    title="$(label "${logs[i]}")"
    title="${title//\'/\'\'}"
    faint="with lines lw 1 lc rgb '#99${color#\#}' notitle"
    line="with lines lw 2.2 lc rgb '$color' title '$title'"
    if ((rows == 1)); then line="with points pt 7 ps 0.8 lc rgb '$color' title '$title'"; fi
    if ((rows > 1)); then curves+=("'$prefix.train' using x(1):3 $faint"); fi
    curves+=("'$prefix.train' using x(1):4 $line")
    if [[ -s "$prefix.validation" ]]; then
        curves+=("'$prefix.validation' using x(1):3 with points pt 6 ps 1.1 lw 1.6 lc rgb '$color' title '$title, validation: $(printf %.3f "$last")'")
    fi
done
((${#curves[@]})) || fail "$data_error" "none of the logs has a loss to plot" "a run writes its first row after its first step"

# The ranges over all runs, and the unit in which tokens are counted.
read -r steps tokens low high unit unit_name < <(awk '
    { if ($2 > s) s = $2; if ($3 > t) t = $3; if (NR == 1 || $4 < l) l = $4; if (NR == 1 || $5 > h) h = $5 }
    END {
        margin = (h - l) * 0.04 + (h == l) * 0.1
        unit = t >= 2e9 ? 1e9 : t >= 2e6 ? 1e6 : t >= 2e3 ? 1e3 : 1
        name = unit == 1e9 ? "billions" : unit == 1e6 ? "millions" : unit == 1e3 ? "thousands" : "-"
        printf "%.10g %.10g %.10g %.10g %.0f %s\n", s + (s == 0), (t + (t == 0)) / unit, l - margin, h + margin, unit, name
    }' "$work"/*.range)
if [[ "$unit_name" == - ]]; then unit_name=tokens; else unit_name="tokens ($unit_name)"; fi

plot_panel() { # X-EXPRESSION X-LABEL LARGEST
    local curve separator='plot '
    echo "set xlabel '$2'; set xrange [0:$3 * 1.02]"
    for curve in "${curves[@]}"; do
        printf '%s%s' "$separator" "${curve/x(1)/$1}"
        separator=$', \\\n     '
    done
    echo
}

for output in "${outputs[@]}"; do
    part="$(dirname "$output")/.$(basename "$output").part"
    case "$output" in
        *.png) terminal="pngcairo size 1500,620 background rgb 'white' font 'Sans,12'" ;;
        *.svg) terminal="svg size 1500,620 dynamic background rgb 'white' font 'Sans,14'" ;;
    esac
    {
        cat << EOF
set terminal $terminal noenhanced
set output '${part//\'/\'\'}'
set multiplot layout 1,2
set border 3 lc rgb '#555555'
set tics nomirror out
set grid lc rgb '#E3E3E3' lt 1 lw 0.7
set yrange [$low:$high]
set ylabel 'loss (nats a token)'
set key top right samplen 2 spacing 1.15
EOF
        plot_panel "(\$2/$unit)" "$unit_name" "$tokens"
        echo "unset key"
        plot_panel '1' 'steps' "$steps"
        echo "unset multiplot"
    } > "$work/plot.gp"
    if ! gnuplot "$work/plot.gp" 2> "$work/gnuplot.txt"; then
        cat "$work/gnuplot.txt" >&2
        rm -f "$part"
        fail "$input_output_error" "gnuplot could not write $output" "its own message is above; does the folder exist, and may you write there?"
    fi
    mv "$part" "$output"
    echo "$output"
done
