//! Every config that ships with the product reads, and its settings are in range.

use impactiq_causal::Config;

#[test]
fn shipped_configs_read_and_their_settings_are_in_range() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs");
    let mut n = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The Kafka scorer's configuration is another language, read by its own crate's tests.
        if path.extension().is_none_or(|extension| extension != "yaml") || name == "stream.yaml" {
            continue;
        }
        let config = Config::from_yaml(&std::fs::read_to_string(&path).unwrap(), &name, &[])
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        config.check_settings().unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = Config::from_yaml(&config.to_yaml().unwrap(), &name, &[]).unwrap();
        assert_eq!(again, config, "{name} changes when written and read again");
        n += 1;
    }
    assert!(n >= 5, "{n} configs found");
}
