"""Flask apps that the tests run under real servers: "tests.support.apps.<module>:create_app()"."""
