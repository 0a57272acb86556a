"""Reports made from the journal and the run folder: Allure, the coverage page, the summary. No live device."""
