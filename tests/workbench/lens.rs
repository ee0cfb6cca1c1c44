//! Looking through a lens in the attribution pane.

use afterthought::runs::lenses::Which;
use afterthought::workbench::pane::Pane;

use super::bench::Bench;
use super::watching::train;

#[test]
fn every_layer_is_seen_cell_by_cell_and_a_tuned_lens_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &["rationale.placement=pre"]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("4L");
    let grid = bench.state.lens.looked.as_ref().expect("read at once").grid.clone();
    bench.says("logit lens → ");
    bench.says("emb");
    bench.says(&grid.says()[..30]);
    // The cursor begins where the label is written, after the last layer.
    let place = grid.question.place.unwrap();
    assert_eq!((bench.state.lens.stream, bench.state.lens.place), (grid.streams - 1, place));
    let p = |stream: usize, place: usize| {
        let cell = grid.cell(stream, place).unwrap();
        format!("p {:.4}, rank {}", cell.probability, cell.rank)
    };
    bench.says(&p(grid.streams - 1, place));
    bench.press("hhj");
    assert_eq!((bench.state.lens.stream, bench.state.lens.place), (grid.streams - 2, place - 2));
    bench.says(&p(grid.streams - 2, place - 2));
    bench.press("jjjgg");
    assert_eq!((bench.state.lens.stream, bench.state.lens.place), (0, 0));
    bench.press("Gl");
    assert_eq!(bench.state.lens.place, grid.tokens.len() - 1);

    // Another question, another grid.
    bench.press("1j");
    assert_eq!(bench.state.lens.looked.as_ref().unwrap().example.id, "tr-0002");
    // No tuned lens yet: back to the scores of tokens.
    bench.press("4");
    bench.says("F trains a tuned lens");
    bench.press("LL");
    assert_eq!(bench.state.lens.shown, Some(Which::Logit));
    bench.press("F");
    bench.says("the tuned lens is trained: KL ");
    assert_eq!(bench.state.lens.looked.as_ref().unwrap().which, Which::Tuned);
    bench.says("tuned lens → ");
    assert!(run.lenses().read_dir().unwrap().count() == 1);
    bench.press("L");
    assert_eq!((bench.state.lens.shown, bench.state.focus), (None, Pane::Attribution));
    bench.says("integrated gradients");
    bench.press("LL");
    bench.says("tuned lens → ");
}

#[test]
fn the_lens_at_three_sizes() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["rationale.placement=pre"]);
    for (columns, rows) in [(80, 24), (200, 60), (60, 16)] {
        let mut bench = Bench::open(dir.path(), columns, rows);
        bench.press("4L");
        bench.says("emb");
        bench.says("→");
        bench.press("zhhh");
        bench.says("emb");
        bench.says("rank");
    }
}
