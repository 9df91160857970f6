//! debug
use popmap_core::time::Duration;
use popmap_core::{Shape, Slot};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Storage};
#[test]
fn dbg() {
    const SHAPE: Shape = Shape { schema: 1, value_len: 24 };
    let mut storage = Storage::new::<2>(2, 100, SHAPE);
    let mut pop = Cluster::<2>::new(&mut storage, 2, 100, SHAPE, 1, Faults::default(), |_| {});
    pop.run(Duration::from_secs(1));
    for s in 0..2 {
        let st = pop.node(Slot::at(s)).stats();
        println!("{:?} {:?}", pop.node(Slot::at(s)).map(), st);
        for (r, n) in st.rejected().filter(|x| x.1 > 0) {
            println!("{r} {n}");
        }
    }
}
